import Testing

@testable import PantlerSockets

@Suite("The sockets of a loop")
struct SourceTableTests {
    private let loop: SocketLoop

    init() throws { loop = try SocketLoop(name: "test") }

    private func source() -> EventSource { EventSource(-1, loop) }

    @Test("each is found by its number, and only by that")
    func found() {
        var table = SourceTable()
        let sources = (0..<3).map { _ in source() }
        for source in sources { source.token = table.insert(source) }
        for source in sources { #expect(table[source.token] === source) }
        #expect(table[3] == nil)
        #expect(table[.max] == nil)
        #expect(table.all.count == 3)
    }

    @Test("an event for one that has gone is nobody's, also once another has its place")
    func gone() {
        var table = SourceTable()
        let first = source()
        first.token = table.insert(first)
        table.remove(first)
        #expect(table[first.token] == nil)
        let second = source()
        second.token = table.insert(second)
        #expect(table[first.token] == nil)
        #expect(table[second.token] === second)
        #expect(table.all.count == 1)
    }

    @Test("removing one that is not there leaves the others")
    func notThere() {
        var table = SourceTable()
        let first = source()
        first.token = table.insert(first)
        table.remove(source())
        #expect(table[first.token] === first)
    }
}
