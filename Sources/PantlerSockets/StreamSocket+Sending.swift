import Glibc
package import NIOCore
import Synchronization

// Output.
extension StreamSocket {
    /// Sends bytes, behind those that wait, at the end of the loop's turn at the latest. What the kernel does not take then is sent as soon as it
    /// does.
    package func send(_ bytes: ByteBuffer) {
        guard isOpen, !endsOutput else { return }
        guard waiting.isEmpty, !hasQueuedBytes, bytes.readableBytes <= Outbox.largestPiece else {
            append(bytes, nil)
            return sendWaiting()
        }
        hasQueuedBytes = true
        loop.send(bytes, from: self)
    }

    /// Has bytes sent behind those that wait, with the next flush at the latest.
    ///
    /// - Parameter companion: let go of once the kernel has the bytes, or the socket ends.
    package func write(_ bytes: ByteBuffer, with companion: AnyObject?) {
        guard isOpen, !endsOutput else { return }
        append(bytes, nil, companion)
    }

    /// The same with bytes that are sent from where they are. The source is let go of with the last of them.
    package func write(_ source: any ByteSource) {
        guard isOpen, !endsOutput, source.remaining > 0 else { return }
        waiting.append(UnsentOutput(content: .source(source), promise: nil))
        waitingBytes += source.remaining
    }

    /// Has all sockets of the loop send what they have gathered. To be called before something that takes long.
    package func sendGathered() { loop.sendAll() }

    /// Sends the bytes of this socket that the `Outbox` has gathered.
    func sendQueued(_ bytes: ByteBuffer, _ range: Range<Int>) {
        hasQueuedBytes = false
        guard isOpen else { return }
        let sent = bytes.withUnsafeReadableBytes { bytes in
            let bytes = UnsafeRawBufferPointer(rebasing: bytes[range])
            return retried { Glibc.send(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL)) }
        }
        loop.traffic.noteSent(sent)
        if sent == range.count { return }
        guard sent >= 0 || -sent == EAGAIN else { return fail(-sent) }
        let start = range.lowerBound + max(0, sent)
        guard let rest = bytes.getSlice(at: start, length: range.upperBound - start) else { return }
        // What the pipeline has written meanwhile comes behind it.
        waiting.prepend(UnsentOutput(content: .bytes(rest), promise: nil))
        waitingBytes += rest.readableBytes
        fill()
    }

    func append(_ bytes: ByteBuffer, _ promise: EventLoopPromise<Void>?, _ companion: AnyObject? = nil) {
        waiting.append(UnsentOutput(content: .bytes(bytes), promise: promise, companion: companion))
        waitingBytes += bytes.readableBytes
    }

    /// Sends the output that waits, as far as the kernel takes it.
    func sendWaiting() {
        if hasQueuedBytes { loop.sendAll() }
        var inTurn = 0
        while !waiting.isEmpty, !isFull, isOpen {
            let (sent, offered) = sendPieces()
            loop.traffic.noteSent(sent)
            guard sent >= 0 || -sent == EAGAIN else { return fail(-sent) }
            inTurn += max(0, sent)
            // A side that takes output as fast as it is made must not keep the loop: epoll tells at once that there is room, after other sockets' turns.
            isFull = sent < offered || inTurn >= Self.bytesInTurn
            if sent >= 0 { drop(sent) }
        }
        guard isOpen else { return }
        if waiting.isEmpty, endsOutput { Glibc.shutdown(descriptor, CInt(SHUT_WR)) }
        tellRoom()
        updateInterest()
    }

    private static let piecesAtOnce = 16
    /// Bytes of one socket that are sent before others have their turn.
    private static let bytesInTurn = 512 << 10

    /// Sends the first pieces in one call.
    ///
    /// - Returns: how many bytes the kernel has taken, or the error's number, negated; and how many it was offered.
    private func sendPieces() -> (sent: Int, offered: Int) {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.piecesAtOnce) { vectors in
            var count = 0
            var offered = 0
            for piece in waiting.prefix(Self.piecesAtOnce) {
                // The bytes stay where they are: `waiting` holds them, and is not touched before the call has returned.
                let (bytes, isWhole) = Self.next(of: piece)
                let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
                vectors.initializeElement(at: count, to: iovec(iov_base: base, iov_len: bytes.count))
                count += 1
                offered += bytes.count
                if !isWhole { break }
            }
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = count
            return (retried { sendmsg(descriptor, &message, CInt(MSG_NOSIGNAL)) }, offered)
        }
    }

    /// The bytes of a piece that can be sent now, and whether they are all of it.
    private static func next(of piece: UnsentOutput) -> (UnsafeRawBufferPointer, isWhole: Bool) {
        switch piece.content {
        case .bytes(let bytes): return (bytes.withUnsafeReadableBytes { $0 }, true)
        case .source(let source):
            let bytes = source.next()
            return (bytes, bytes.count == source.remaining)
        }
    }

    /// Lets go of bytes that the kernel has.
    private func drop(_ sent: Int) {
        waitingBytes -= sent
        takenWaitingBytes &+= sent
        var left = sent
        var kept: [EventLoopPromise<Void>] = []
        while let first = waiting.first, first.count <= left {
            left -= first.count
            waiting.removeFirst()
            if let promise = first.promise { kept.append(promise) }
        }
        if left > 0 {
            switch waiting[waiting.startIndex].content {
            case .source(let source): source.advance(by: left)
            case .bytes(var bytes):
                bytes.moveReaderIndex(forwardBy: left)
                waiting[waiting.startIndex].content = .bytes(bytes)
            }
        }
        // At the end, since whoever is told may send more, or close the socket.
        for promise in kept { promise.succeed() }
    }

    /// Notes that the kernel takes no more for now.
    private func fill() {
        isFull = true
        tellRoom()
        updateInterest()
    }

    /// Tells the handlers if there is no room any more, or room again. There is none as long as anything waits: of a side that does
    /// not read, nothing more is gathered than was there when that showed.
    private func tellRoom() {
        let takesMore = takesMore.load(ordering: .relaxed)
        guard takesMore == (waitingBytes > 0) else { return }
        self.takesMore.store(!takesMore, ordering: .relaxed)
        pipeline.syncOperations.fireChannelWritabilityChanged()
    }

    /// Bytes that the other side has taken, but for a number that does not change as long as any wait here. A system call.
    ///
    /// The kernel has up to some megabytes that the other side has not taken, and tells of room for more only once a third of that is gone:
    /// what waits here may stand for minutes although a slow side takes all that it can.
    package var takenBytes: Int {
        var held: CInt = 0
        // SIOCOUTQ in tcp(7) and unix(7), which is the same number: what the kernel has of the output.
        guard isOpen, ioctl(descriptor, UInt(TIOCOUTQ), &held) == 0 else { return takenWaitingBytes }
        return takenWaitingBytes - Int(held)
    }

    private func fail(_ code: Int) { end(IOError(errnoCode: CInt(code), reason: "send")) }
}
