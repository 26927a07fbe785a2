import NIOCore
import NIOPosix
import Support
import Testing

@testable import PantlerHTTP

@Suite("What other threads have for an event loop")
struct LoopInboxTests {
    @Test("pieces of many threads all run on the loop, those of each thread in order")
    func order() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let inbox = LoopInbox(loop)
        let seen = Shared<[[Int]]>(Array(repeating: [], count: 4))
        await withTaskGroup(of: Void.self) { tasks in
            for thread in 0..<4 {
                tasks.addTask {
                    for number in 0..<2000 {
                        inbox.run {
                            loop.preconditionInEventLoop()
                            seen.update { $0[thread].append(number) }
                        }
                    }
                }
            }
        }
        try eventually("all have run") { seen.value.allSatisfy { $0.count == 2000 } }
        #expect(seen.value.allSatisfy { $0 == Array(0..<2000) })
        try await group.shutdownGracefully()
    }
}
