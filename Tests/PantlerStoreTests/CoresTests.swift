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

    @Test("background work has all of them, whatever its thread was kept to before")
    func background() throws {
        let one = Cores([try #require(all.numbers.first)])
        let queue = WorkerPool("test")
        let had = Shared<[Cores]>([])
        // The second piece finds the first one's thread, as it would one that an event loop has started.
        queue.async {
            one.keepThisThread()
            had.update { $0.append(Cores.ofThisThread()) }
        }
        queue.async { had.update { $0.append(Cores.ofThisThread()) } }
        try eventually("both have run") { had.value.count == 2 }
        queue.async(afterMilliseconds: 1) { had.update { $0.append(Cores.ofThisThread()) } }
        try eventually("the third has run, too") { had.value.count == 3 }
        #expect(had.value == [one, all, all])
    }
}
