import Glibc
package import NIOCore
import Synchronization

// What goes.
extension StreamSocket {
    /// Sends bytes, behind what waits, by the end of the loop's turn. What the kernel does not take then goes as soon as it does.
    package func send(_ bytes: ByteBuffer) {
        guard isOpen, !endsOutput else { return }
        guard waiting.isEmpty, !hasParcel, bytes.readableBytes <= Outbox.parcelBytes else {
            append(bytes, nil)
            return sendWaiting()
        }
        hasParcel = true
        loop.send(bytes, from: self)
    }

    /// Has all sockets of the loop send what they have gathered: something is about to take its time.
    package func sendGathered() { loop.sendAll() }

    /// Sends what was gathered.
    func sendParcel(_ bytes: ByteBuffer, _ range: Range<Int>) {
        hasParcel = false
        guard isOpen else { return }
        let sent = bytes.withUnsafeReadableBytes { bytes in
            let bytes = UnsafeRawBufferPointer(rebasing: bytes[range])
            return retried { Glibc.send(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL)) }
        }
        if sent == range.count { return }
        guard sent >= 0 || -sent == EAGAIN else { return fail(-sent) }
        let start = range.lowerBound + max(0, sent)
        guard let rest = bytes.getSlice(at: start, length: range.upperBound - start) else { return }
        // What the pipeline has written meanwhile comes behind it.
        waiting.prepend(Waiting(bytes: rest, promise: nil))
        waitingBytes += rest.readableBytes
        fill()
    }

    func append(_ bytes: ByteBuffer, _ promise: EventLoopPromise<Void>?) {
        waiting.append(Waiting(bytes: bytes, promise: promise))
        waitingBytes += bytes.readableBytes
    }

    /// Sends what waits, as far as the kernel takes it.
    func sendWaiting() {
        if hasParcel { loop.sendAll() }
        while !waiting.isEmpty, !isFull, isOpen {
            let sent = sendPieces()
            if sent >= 0 { drop(sent) } else if -sent == EAGAIN { isFull = true } else { return fail(-sent) }
        }
        guard isOpen else { return }
        if waiting.isEmpty, endsOutput { Glibc.shutdown(descriptor, CInt(SHUT_WR)) }
        tellRoom()
        updateInterest()
    }

    private static let piecesAtOnce = 16

    /// Sends the first pieces in one call. Returns the bytes that were taken, or the error's number, negated.
    private func sendPieces() -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.piecesAtOnce) { vectors in
            var count = 0
            for piece in waiting.prefix(Self.piecesAtOnce) {
                // The buffers stay where they are: `waiting` holds them, and is not touched before the call has returned.
                piece.bytes.withUnsafeReadableBytes { bytes in
                    let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
                    vectors.initializeElement(at: count, to: iovec(iov_base: base, iov_len: bytes.count))
                }
                count += 1
            }
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = count
            return retried { sendmsg(descriptor, &message, CInt(MSG_NOSIGNAL)) }
        }
    }

    /// Lets go of bytes that the kernel has.
    private func drop(_ sent: Int) {
        waitingBytes -= sent
        var left = sent
        var kept: [EventLoopPromise<Void>] = []
        while let first = waiting.first, first.bytes.readableBytes <= left {
            left -= first.bytes.readableBytes
            waiting.removeFirst()
            if let promise = first.promise { kept.append(promise) }
        }
        if left > 0 {
            waiting[waiting.startIndex].bytes.moveReaderIndex(forwardBy: left)
            isFull = true
        }
        // Last: who hears of it may send more, or close.
        for promise in kept { promise.succeed() }
    }

    /// The kernel takes no more for now.
    private func fill() {
        isFull = true
        tellRoom()
        updateInterest()
    }

    /// Tells the handlers if there is no room any more, or room again.
    private func tellRoom() {
        let takesMore = takesMore.load(ordering: .relaxed)
        guard takesMore ? waitingBytes > Self.high : waitingBytes <= Self.low else { return }
        self.takesMore.store(!takesMore, ordering: .relaxed)
        pipeline.syncOperations.fireChannelWritabilityChanged()
    }

    private func fail(_ code: Int) { end(IOError(errnoCode: CInt(code), reason: "send")) }
}
