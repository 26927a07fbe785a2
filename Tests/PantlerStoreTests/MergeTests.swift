import Dispatch
import PantlerModel
import Support
import Testing

@testable import PantlerStore

/// Merges that take long: they hold no lock, and neither lose nor undo what is written meanwhile.
@Suite("Long merges")
struct MergeTests {
    private let driver: StoreDriver
    private let ns: Namespace

    init() throws {
        driver = try StoreDriver()
        ns = try driver.namespace { $0.maxValueSize = 1 << 20 }
    }

    /// Pieces of `block` that have begun.
    private let begun = Shared(0)

    /// Keeps the threads that make long merges busy, until `open` is signalled twice.
    private func block(_ open: DispatchSemaphore) {
        for _ in 0..<2 {
            driver.store.merges.pool.async { [begun] in
                begun.update { $0 += 1 }
                open.wait()
            }
        }
    }

    private func long(_ mark: Int) -> String { #"{"n":\#(mark),"pad":"\#(String(repeating: "x", count: 100_000))"}"# }

    private func patch(_ json: String) -> Answer<Written> {
        let answer = Answer<Written>()
        driver.store.patch(ns, driver.address(ns, "k"), Patch(value: Array(json.utf8)), completion: answer.give)
        return answer
    }

    private func value() throws -> String { String(try driver.get(ns, "k").prefix { $0 != "," }) }

    @Test("a write that comes while one is made holds, and the merge is made on it")
    func conflict() throws {
        try driver.put(ns, "k", long(1))
        let open = DispatchSemaphore(value: 0)
        block(open)
        let merge = patch(#"{"new":true,"pad":null}"#)
        // Answered although the merge is not: it holds nothing.
        try driver.put(ns, "k", long(2))
        #expect(!merge.isThere)
        open.signal()
        open.signal()
        let merged = try merge.get()
        #expect(try driver.get(ns, "k") == #"{"n":2,"new":true} memory"#)
        #expect(try driver.put(ns, "other").version > merged.version)
    }

    @Test("a delete that comes meanwhile stays one")
    func deleted() throws {
        try driver.put(ns, "k", long(1))
        let open = DispatchSemaphore(value: 0)
        block(open)
        let merge = patch(#"{"new":true}"#)
        try driver.delete(ns, "k")
        open.signal()
        open.signal()
        #expect(throws: Problem.self) { _ = try merge.get() }
        #expect(try driver.get(ns, "k") == "deleted")
    }

    @Test("one that was overtaken three times has the key's writes to itself, and those wait in their order")
    func fairness() throws {
        try driver.put(ns, "k", long(0))
        let open = DispatchSemaphore(value: 0)
        block(open)
        let merge = patch(#"{"new":true}"#)
        for round in 1...3 {
            try driver.put(ns, "k", long(round))
            // The next try waits behind these.
            block(open)
            open.signal()
            open.signal()
            // Both threads are with these, so what waits is the next try.
            try eventually("the try has found the write") {
                begun.value == 2 * (round + 1) && driver.store.merges.pool.waiting == 1
            }
        }
        let late = (0..<3).map { _ in Answer<Written>() }
        for (number, answer) in late.enumerated() {
            let put = Put(value: Array("\(number)".utf8), kind: .json)
            driver.store.put(ns, driver.address(ns, "k"), put, completion: answer.give)
        }
        #expect(!merge.isThere && !late.contains(where: \.isThere))
        #expect(try value() == #"{"n":3"#, "gets wait for nothing")
        open.signal()
        open.signal()
        let versions = try [merge.get().version] + late.map { try $0.get().version }
        #expect(versions == versions.sorted())
        #expect(try driver.get(ns, "k") == "2 memory")
    }

    @Test("a result over the bound is refused with its size, and so is a patch over it")
    func bounded() throws {
        try driver.put(ns, "k", long(1))
        let big = String(repeating: "y", count: 1_000_000)
        let size = long(1).utf8.count + #","b":"""#.utf8.count + big.utf8.count
        let problem = #expect(throws: Problem.self) { _ = try patch(#"{"b":"\#(big)"}"#).get() }
        #expect(problem == .valueTooLarge(Int64(size), limit: 1 << 20))
        #expect(try patch(#"{"b":"\#(big)","pad":null}"#).get().version > 0)
        let nulls = "{" + (0..<200_000).map { "\"\($0)\":null" }.joined(separator: ",") + "}"
        #expect(throws: Problem.valueTooLarge(Int64(nulls.utf8.count), limit: 1 << 20)) { _ = try patch(nulls).get() }
    }
}
