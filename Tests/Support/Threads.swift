internal import Foundation
internal import Synchronization

/// Runs `body` on as many threads at once, each given its number, and returns what they gave when all have ended.
///
/// Threads and not tasks, since the clients of these tests block.
///
/// - Throws: the first error of any of them, once all have ended.
package func onThreads<Value: Sendable>(
    _ count: Int,
    _ body: @escaping @Sendable (Int) throws -> Value
) throws -> [Value] {
    let running = BackgroundThreads(count, body)
    return try running.join()
}

/// Threads that run while the test does something else.
package final class BackgroundThreads<Value: Sendable>: Sendable {
    private let results: Mutex<[Result<Value, any Error>?]>
    private let group = DispatchGroup()

    package init(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Value) {
        results = Mutex(Array(repeating: nil, count: count))
        for number in 0..<count {
            group.enter()
            let thread = Thread { [self] in
                let result = Result { try body(number) }
                results.withLock { $0[number] = result }
                group.leave()
            }
            thread.stackSize = 4 << 20
            thread.start()
        }
    }

    /// Waits for the end of all.
    package func join() throws -> [Value] {
        group.wait()
        return try results.withLock { $0 }.compactMap { try $0?.get() }
    }
}

/// A number or a switch that threads share.
package final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    package init(_ value: Value) {
        mutex = Mutex(value)
    }

    package var value: Value {
        get { mutex.withLock { $0 } }
        set { mutex.withLock { $0 = newValue } }
    }

    package func update<Answer: Sendable>(_ change: @Sendable (inout Value) -> Answer) -> Answer {
        mutex.withLock { change(&$0) }
    }
}
