internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
internal import PantlerSockets
import PantlerStore

// A burst: what one wake-up of the loop brings, answered in one write.
extension Connection {
    /// Runs `work` as a burst of its own, or as part of the present one, and then goes on with what had to wait.
    func burst(_ work: () -> Void) {
        if isInBurst { return work() }
        beginBurst()
        work()
        consumeInput()
        endBurst()
    }

    /// Runs `work` as part of a burst that lasts until the loop has done all it has to do now: answers that come one after the other, as
    /// those to the writes of one commit, are then sent together. Where there is only one to wait for, nothing can come with it.
    func gatheringBurst(_ work: () -> Void) {
        if pending.count <= 1 { return burst(work) }
        if !isInBurst {
            beginBurst()
            loop.endBurstSoon(of: self)
        }
        work()
    }

    /// Ends such a burst, unless bytes that came meanwhile have brought it to its end.
    func endGatheringBurst() {
        guard isInBurst else { return }
        consumeInput()
        endBurst()
    }

    /// Bytes have come: part of the present burst, which lasts until all are there.
    func received(_ bytes: inout ByteBuffer) {
        beginBurst()
        if input.readableBytes == 0 { consume(&bytes, isPlain: true) }
        if bytes.readableBytes == 0 { return }
        // What is not answered from where it is is kept in a buffer of its size.
        input.writeBuffer(&bytes)
        consumeInput()
    }

    func beginBurst() {
        if isInBurst { return }
        isInBurst = true
        isShort = loop.flight.isShort
        steps = Self.burstSteps
        burstBegan = loop.eventLoop.now
        moment = loop.store.moment()
        output = loop.takeOutput()
    }

    /// Lets others of the loop have their turn, and goes on after them with what is left of the input.
    func yieldTurn() {
        if isYielding { return }
        isYielding = true
        loop.eventLoop.assumeIsolated().execute { [self] in
            isYielding = false
            if phase != .closed { burst {} }
        }
    }

    func endBurst() {
        guard isInBurst else { return }
        let hasAnswered = needsFlush || hasFlushed || output.readableBytes > 0
        hasFlushed = false
        if phase == .lingering, !hasWrittenLast {
            writeLast()
        } else {
            if let socket, !needsFlush {
                if output.readableBytes > 0 { socket.send(output) }
            } else {
                if output.readableBytes > 0 { write(output) }
                if needsFlush { context?.flush() }
            }
        }
        needsFlush = false
        loop.giveBack(output)
        output = ByteBuffer()
        isInBurst = false
        if hasAnswered { recordBurst() }
        if goesOnAfterBurst {
            goesOnAfterBurst = false
            return burst {}
        }
        settle()
    }

    /// Hands over what is gathered, so that other bytes can follow.
    func writeOutput() {
        if output.readableBytes == 0 { return }
        write(output)
        loop.giveBack(output)
        output = loop.takeOutput()
    }

    /// Hands bytes to the channel, which keeps them until the burst's end.
    ///
    /// - Parameter claim: what counts them, until the socket has them.
    func write(_ bytes: ByteBuffer, _ claim: FlightClaim? = nil) {
        if let socket, let claim {
            socket.write(bytes, with: claim)
        } else {
            context?.write(wrapOutboundOut(bytes), promise: nil)
        }
        needsFlush = true
    }

    /// The same with a large value, which goes from where it is, unless there is another handler before the socket: that takes copies alone.
    func write(_ value: OutgoingValue) {
        if let socket {
            socket.write(value.source)
        } else {
            context?.write(wrapOutboundOut(value.copy), promise: nil)
        }
        needsFlush = true
    }

    /// Hands over an answer with values in it.
    func write(_ answer: WireAnswer) {
        if answer.head.readableBytes > 0 { write(answer.head, answer.claim) }
        var written = answer.text.readerIndex
        for (offset, value) in answer.values {
            if let text = answer.text.getSlice(at: written, length: offset - written), offset > written {
                write(text, answer.claim)
            }
            write(value)
            written = offset
        }
        let left = answer.text.writerIndex - written
        if left > 0, let text = answer.text.getSlice(at: written, length: left) { write(text, answer.claim) }
    }

    /// Sends what is gathered with a value in its midst.
    func sendOutput(with value: OutgoingValue, at offset: Int) {
        var answer = WireAnswer(output)
        answer.add(value, at: offset)
        write(answer)
        output = ByteBuffer()
        sendOutput()
    }

    /// Hands over what is gathered and has it sent: it is more than should come together.
    func sendOutput() {
        writeOutput()
        if output.capacity == 0 { output = loop.takeOutput() }
        needsFlush = false
        hasFlushed = true
        context?.flush()
    }

    private func recordBurst() {
        let now = loop.eventLoop.now
        lastAnswered = now
        let nanoseconds = UInt64(max(0, (now - burstBegan).nanoseconds))
        fastAnswers.record(in: loop.tally, nanoseconds: nanoseconds)
        fastAnswers = FastAnswers()
    }
}
