package import Dispatch
package import NIOCore

// The loop as SwiftNIO knows one.
extension SocketLoop: EventLoop {
    /// Each look at it on the loop's thread also tells how long the loop is held.
    package var now: NIODeadline {
        let now = NIODeadline.now()
        if inEventLoop { noteTime(now) }
        return now
    }

    package func submit<Value>(_ task: @escaping @Sendable () throws -> Value) -> EventLoopFuture<Value> {
        let promise = makePromise(of: Value.self)
        execute { promise.assumeIsolated().completeWith(Result { try task() }) }
        return promise.futureResult
    }

    package func scheduleTask<Value>(
        deadline: NIODeadline,
        _ task: @escaping @Sendable () throws -> Value
    ) -> Scheduled<Value> {
        let promise = makePromise(of: Value.self)
        let timer = LoopTimer(
            deadline,
            dropped: { promise.fail(EventLoopError.shutdown) },
            { promise.assumeIsolated().completeWith(Result { try task() }) }
        )
        add(timer)
        return Scheduled(promise: promise) { self.cancel(timer) }
    }

    package func scheduleTask<Value>(
        in delay: TimeAmount,
        _ task: @escaping @Sendable () throws -> Value
    ) -> Scheduled<Value> {
        scheduleTask(deadline: .now() + delay, task)
    }

    package func preconditionInEventLoop(file: StaticString, line: UInt) {
        precondition(inEventLoop, file: file, line: line)
    }

    package func preconditionNotInEventLoop(file: StaticString, line: UInt) {
        precondition(!inEventLoop, file: file, line: line)
    }

    // MARK: A group of one

    package func next() -> any EventLoop { self }

    package func any() -> any EventLoop { self }

    package func makeIterator() -> EventLoopIterator { EventLoopIterator([self]) }

    package func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        end { queue.async { callback(nil) } }
    }
}
