internal import NIOCore
import PantlerInsight
import PantlerModel
internal import PantlerSockets

// How a connection ends: by its last answer, by either side's wish, or by a deadline.
extension Connection {
    /// Takes no request any more; what has been answered is still sent.
    func endAnswers() {
        guard state.endAnswers() else { return }
        dropMessage()
        room = .unasked
    }

    /// Sends what is left, and then says that nothing more comes.
    func writeLast() {
        guard let context else { return }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] _ in
            switch state.lastSent() {
            case .all: close()
            case let mode: self.context?.close(mode: mode, promise: nil)
            }
        }
        context.writeAndFlush(wrapOutboundOut(output), promise: written)
    }

    /// Ends a connection that has nothing more to do.
    func endIfDone() {
        switch state.end(unread: input.readableBytes) {
        case .none: break
        case .ifSent: if bufferedBytes == 0 { close() }
        case .whenSent:
            // Bytes that the socket has gathered are not among `bufferedBytes` yet, and may be more than the kernel takes at once.
            socket?.sendGathered()
            guard state.isOpen else { return }
            if bufferedBytes == 0 { return close() }
            burst { endAnswers() }
        }
    }

    func close() {
        if state.close() { context?.close(promise: nil) }
    }

    /// Ends the connection after the request that is under way, or at once if there is none.
    func drain() {
        cancel(state.drain())
        endLeases(.serverStops)
        if !state.isInBurst { endIfDone() }
    }

    /// Tells a client that there are too many connections.
    func refuseConnection() {
        loop.openConnections.noteRefusal()
        burst { refuse(Problem(.overloaded, "The server has all the connections that it takes; try again later.")) }
    }

    // MARK: Deadlines

    /// Bytes that the channel has not sent yet.
    var bufferedBytes: Int {
        guard let options = context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// Sets the timer so that it goes off at the deadline or before. A timer that goes off before is left alone, because the deadline is
    /// looked at again then. So a busy connection sets its timer once in an idle timeout, and not once a request.
    func armTimer() {
        guard let due = state.deadline(loop.patience) else { return }
        // Only the timer's moment is read here, so that a hit need not touch its task.
        if let armed = timer?.due {
            if armed <= due { return }
            timer?.task.cancel()
        }
        let task = loop.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [self] in
            timer = nil
            timerWentOff()
        }
        timer = (task, due)
    }

    private func timerWentOff() {
        switch state.timerFired(at: loop.eventLoop.now, loop.patience, unsent: bufferedBytes) {
        case .none: armTimer()
        case .close: close()
        case .head: burst { timeOut("head") }
        case .body: burst { timeOut("body") }
        }
    }

    private func timeOut(_ what: String) {
        refuse(Problem(.requestTimeout, "The request's \(what) did not come in time."))
    }
}
