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
            switch state.lastSent(at: loop.eventLoop.now) {
            case .all: close()
            case let mode:
                self.context?.close(mode: mode, promise: nil)
                armTimer()
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
            (socket ?? secured?.socket)?.sendGathered()
            guard state.isOpen else { return }
            if bufferedBytes == 0 { return close() }
            burst { endAnswers() }
        }
    }

    func close() {
        if state.close() { context?.close(promise: nil) }
    }

    /// Ends the connection after the request that is under way, or at once if there is none.
    ///
    /// - Parameter sparesIdle: whether it may still have a request where there is none, which is its last.
    func drain(sparesIdle: Bool = false) {
        cancel(state.drain())
        endLeases(.serverStops)
        if !state.isInBurst, !sparesIdle { endIfDone() }
    }

    /// Tells a client that there are too many connections.
    func refuseConnection() {
        loop.openConnections.noteRefusal(.limit)
        burst { refuse(.allConnections) }
    }

    // MARK: Deadlines

    /// Bytes that the other side has taken, but for a number that does not change while it takes less than there is. Asked for where it may
    /// be slow.
    var takenBytes: Int { (context?.channel as? StreamSocket)?.takenBytes ?? -bufferedBytes }

    /// Bytes that the channel has not sent yet.
    var bufferedBytes: Int {
        guard let options = context?.channel.syncOptions else { return 0 }
        return ((try? options.getOption(.bufferedWritableBytes)) ?? 0) + (secured?.queuedBytes ?? 0)
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
        switch state.timerFired(at: loop.eventLoop.now, loop.patience, taken: takenBytes) {
        case .none: armTimer()
        case .close: close()
        case .head: burst { timeOut(.head) }
        case .body: burst { timeOut(.body) }
        case .refusedBody: cutOff(.body)
        case .answer: cutOff(.answer)
        }
    }

    private func timeOut(_ what: ConnectionCount.Slowness) {
        loop.openConnections.noteSlow(what)
        let requestID = what == .body ? unfinishedRequestID : .none
        refuse(Problem(.requestTimeout, "The request's \(what.rawValue) did not come in time."), requestID)
    }

    private func cutOff(_ what: ConnectionCount.Slowness) {
        loop.openConnections.noteSlow(what)
        close()
    }
}
