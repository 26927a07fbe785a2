internal import NIOCore
import PantlerInsight
import PantlerModel
internal import PantlerSockets

// How a connection ends: by its last answer, by either side's wish, or by a deadline.
extension Connection {
    /// No request is taken any more; what has been answered is still sent.
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
            // What was gathered counts nowhere yet, and may be more than the kernel takes at once.
            socket?.sendGathered()
            guard state.isOpen else { return }
            if bufferedBytes == 0 { return close() }
            burst { endAnswers() }
        }
    }

    func close() {
        if state.close() { context?.close(promise: nil) }
    }

    /// Ends with the request that is under way, if there is one.
    func drain() {
        cancel(state.drain())
        if !state.isInBurst { endIfDone() }
    }

    /// Tells a client that there are too many.
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

    /// Sees to it that the timer goes off by the deadline. It is let be where it goes off before: it then looks again. So a busy
    /// connection sets it once in an idle timeout, and not once a request.
    func armTimer() {
        guard let due = state.deadline(loop.patience) else { return }
        // Where it stands is asked without what it is: a hit need not touch the task.
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
