internal import NIOCore
import PantlerInsight
import PantlerModel
internal import PantlerSockets

// How a connection ends: by its last answer, by either side's wish, or by a deadline.
extension Connection {
    /// How long bytes are thrown away after the last answer.
    private static let lingering = TimeAmount.seconds(2)

    /// No request is taken any more; what has been answered is still sent.
    func beginLingering() {
        guard phase == .open else { return }
        phase = .lingering
        lingerBegan = burstBegan
        dropMessage()
        isWaitingForRoom = false
        room = .unasked
    }

    /// Sends what is left, and then says that nothing more comes.
    func writeLast() {
        guard let context else { return }
        hasWrittenLast = true
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] _ in
            if isInputClosed { close() } else { self.context?.close(mode: .output, promise: nil) }
        }
        context.writeAndFlush(wrapOutboundOut(output), promise: written)
    }

    /// Ends a connection that has nothing more to do: the other side has sent its last request, or the server is on its way
    /// out.
    func endIfDone() {
        switch phase {
        case .closed: break
        case .lingering: if isInputClosed, hasWrittenLast, bufferedBytes == 0 { close() }
        case .open:
            guard pending.isEmpty, !isWaitingForRoom, !isYielding else { return }
            let isIdle = message == nil && input.readableBytes == 0
            if isInputClosed && isWritable || loop.isDraining && isIdle { closeWhenWritten() }
        }
    }

    private func closeWhenWritten() {
        // What was gathered counts nowhere yet, and may be more than the kernel takes at once.
        socket?.sendGathered()
        guard phase == .open else { return }
        if bufferedBytes == 0 { return close() }
        burst { beginLingering() }
    }

    func close() {
        guard phase != .closed else { return }
        phase = .closed
        context?.close(promise: nil)
    }

    /// Ends with the request that is under way, if there is one.
    func drain() {
        if !isInBurst { endIfDone() }
    }

    /// Tells a client that there are too many.
    func refuseConnection() {
        burst { refuse(Problem(.overloaded, "The server has all the connections that it takes; try again later.")) }
    }

    // MARK: Deadlines

    /// Bytes that the channel has not sent yet.
    var bufferedBytes: Int {
        guard let options = context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// When patience ends, as things stand; `nil` while the server itself is at work.
    private var deadline: NIODeadline? {
        let patience = loop.patience
        switch phase {
        case .closed: return nil
        case .lingering: return lingerBegan + Self.lingering
        case .open:
            if !isWritable { return stalled.since + patience.idle }
            // Which has an end of its own.
            if isWaitingForRoom { return nil }
            if message != nil { return bodyMoved + patience.body }
            if !pending.isEmpty { return nil }
            if let headBegan { return headBegan + patience.head }
            return lastAnswered + patience.idle
        }
    }

    /// Sees to it that the timer goes off by the deadline. It is let be where it goes off before: it then looks again. So a busy
    /// connection sets it once in an idle timeout, and not once a request.
    func armTimer() {
        guard let due = deadline else { return }
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
        guard let due = deadline else { return }
        if loop.eventLoop.now < due { return armTimer() }
        switch phase {
        case .closed: break
        case .lingering: close()
        case .open:
            if !isWritable { return closeIfStalled() }
            if let message, message.isRefused { return close() }
            if message == nil && headBegan == nil { return close() }
            burst { timeOut() }
        }
    }

    private func timeOut() {
        let what = message == nil ? "head" : "body"
        let problem = Problem(.requestTimeout, "The request's \(what) did not come in time.")
        refuse(problem)
    }

    /// Any progress in reading what was sent earns another stretch of time.
    private func closeIfStalled() {
        let left = bufferedBytes
        if left >= stalled.bytes { return close() }
        stalled = (loop.eventLoop.now, left)
        armTimer()
    }
}
