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
        if state.isInBurst { return work() }
        beginBurst()
        work()
        consumeInput()
        endBurst()
    }

    /// Runs `work` as part of a burst that lasts until the loop has done all it has to do now. Answers that come one after the other, like
    /// those to the writes of one commit, are then sent together. Where only one answer is waited for, no other can come with it, and
    /// `work` is a burst of its own.
    func gatheringBurst(_ work: () -> Void) {
        if state.answers.count <= 1 { return burst(work) }
        if !state.isInBurst {
            beginBurst()
            loop.endBurstSoon(of: self)
        }
        work()
    }

    /// Ends the burst of `gatheringBurst`, unless bytes that came meanwhile have ended it.
    func endGatheringBurst() {
        guard state.isInBurst else { return }
        consumeInput()
        endBurst()
    }

    /// Takes bytes that have come, as part of a burst that lasts until all of them are there.
    func received(_ bytes: inout ByteBuffer) {
        beginBurst()
        if input.readableBytes == 0 { consume(&bytes, isPlain: true) }
        if bytes.readableBytes == 0 { return }
        // Bytes that are not answered from where they lie are kept in a buffer of their size.
        input.writeBuffer(&bytes)
        consumeInput()
    }

    func beginBurst() {
        if state.isInBurst { return }
        state.beginBurst(at: loop.eventLoop.now, isShort: isShort)
        moment = loop.store.moment()
        output = loop.takeOutput()
    }

    /// Lets other connections of the loop have their turn, and goes on after them with what is left of the input.
    func yieldTurn() {
        loop.eventLoop.assumeIsolated().execute { [self] in
            state.turnCame()
            if state.life != .closed { burst {} }
        }
    }

    func endBurst() {
        guard state.isInBurst else { return }
        let sending = state.sending(gathered: output.readableBytes)
        switch sending {
        case .nothing: break
        case .gathered:
            if let socket { socket.send(output) } else { context?.writeAndFlush(wrapOutboundOut(output), promise: nil) }
        case .last: writeLast()
        }
        loop.giveBack(output)
        output = ByteBuffer()
        if state.hasAnswered(sending) { recordBurst() }
        if state.endBurst() { burst {} } else { settle() }
    }

    /// Hands bytes to the channel, which keeps them until `flush`.
    ///
    /// - Parameter claim: counts the bytes until the socket has taken them.
    private func write(_ bytes: ByteBuffer, _ claim: FlightClaim? = nil) {
        if let socket, let claim {
            socket.write(bytes, with: claim)
        } else if let secured {
            secured.write(bytes, with: claim)
        } else {
            context?.write(wrapOutboundOut(bytes), promise: nil)
        }
    }

    /// Hands a large value to the channel. It goes from where it lies, unless other handlers than those of TLS stand before the socket, which
    /// take copies alone.
    private func write(_ value: OutgoingValue) {
        if let socket {
            socket.write(value.source)
        } else if let secured {
            secured.write(value.source)
        } else {
            context?.write(wrapOutboundOut(value.copy), promise: nil)
        }
    }

    private func flush() {
        state.sent()
        context?.flush()
    }

    /// Sends an answer, behind what is gathered.
    func send(_ answer: WireAnswer) {
        if output.readableBytes > 0 {
            write(output)
            loop.giveBack(output)
            output = loop.takeOutput()
        }
        write(answer)
        flush()
    }

    /// Sends what is gathered with a value in the middle of it.
    func sendOutput(with value: OutgoingValue, at offset: Int) {
        var answer = WireAnswer(output)
        answer.add(value, at: offset)
        output = loop.takeOutput()
        write(answer)
        flush()
    }

    /// Sends what is gathered, because it is more than should be sent together.
    func sendOutput() { send(WireAnswer()) }

    private func write(_ answer: WireAnswer) {
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

    private func recordBurst() {
        let now = loop.eventLoop.now
        state.answered(at: now)
        let nanoseconds = UInt64(max(0, (now - state.burstBegan).nanoseconds))
        fastAnswers.record(in: loop.tally, nanoseconds: nanoseconds)
        fastAnswers = FastAnswers()
    }
}
