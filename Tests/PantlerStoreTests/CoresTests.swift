import PantlerModel
import Support
import Testing

@testable import PantlerStore

@Suite("The cores that threads run on")
struct CoresTests {
    private let all = Cores.ofThisThread()

    @Test("a thread keeps to what it is told to keep to, and to what it had where the system refuses")
    func keep() throws {
        let one = Cores([try #require(all.numbers.last)])
        let kept = try onThreads(1) { _ in
            one.keepThisThread()
            let kept = Cores.ofThisThread()
            Cores([]).keepThisThread()
            Cores([100_000]).keepThisThread()
            return [kept, Cores.ofThisThread()]
        }
        #expect(kept == [[one, one]])
        #expect(Cores.ofThisThread() == all)
    }

    @Test("work off the event loops has all of them, whatever the thread keeps to that asks for it")
    func background() throws {
        let one = Cores([try #require(all.numbers.first)])
        let pools = (0..<4).map { WorkerPool("test-\($0)", width: 2) }
        let had = Shared<[Cores]>([])
        _ = try onThreads(1) { _ in
            one.keepThisThread()
            // Each piece waits for all others: there is a thread for each.
            for pool in pools {
                for _ in 0..<2 {
                    pool.async {
                        had.update { $0.append(Cores.ofThisThread()) }
                        try? eventually("all run") { had.value.count == 8 }
                    }
                }
            }
            try eventually("all run") { had.value.count == 8 }
        }
        #expect(had.value == Array(repeating: all, count: 8))
        pools[0].async(afterMilliseconds: 1) { had.update { $0.append(Cores.ofThisThread()) } }
        try eventually("it runs later, too") { had.value.count == 9 }
        #expect(had.value.last == all)
        for pool in pools { pool.close() }
    }
}
