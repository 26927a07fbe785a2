import PantlerModel
import Support
import Testing

@testable import PantlerInsight

@Suite("Request tally")
struct RequestTallyTests {
    @Test("a request is found under its operation, lane and code, and nowhere else", arguments: Lane.allCases)
    func record(lane: Lane) {
        for operation in Operation.allCases {
            for status in AnswerCode.known + [299] {
                let tally = RequestTally()
                tally.record(operation, lane, status: status, nanoseconds: 60_000)
                let figures = RequestFigures([tally])
                #expect(figures.requests(operation, status: status) == 1)
                #expect(figures.requests.map(\.count) == [1])
                #expect(figures.requests.first?.lane == lane)
                #expect(figures.requests.first?.code == (status == 299 ? "other" : String(status)))
                #expect(figures.durations(operation).count == 1)
                #expect(figures.durations(operation).sumNanoseconds == 60_000)
                #expect(Operation.allCases.map { figures.durations($0).count }.reduce(0, +) == 1)
            }
        }
    }

    @Test("every status that a problem can have is counted by itself", arguments: Problem.Code.allCases)
    func problems(code: Problem.Code) {
        #expect(AnswerCode.known.contains(code.status))
    }

    @Test("a code's place in the table is the one that it is named after")
    func codes() {
        #expect(AnswerCode.count == AnswerCode.known.count + 1)
        for (index, status) in AnswerCode.known.enumerated() {
            #expect(AnswerCode.index(of: status) == index)
            #expect(AnswerCode.name(index) == String(status))
        }
        for status in [0, 100, 203, 418, 502, 999, -1] {
            #expect(AnswerCode.name(AnswerCode.index(of: status)) == "other")
        }
    }

    @Test("operations have names of their own")
    func names() {
        #expect(Set(Operation.allCases.map(\.name)).count == Operation.allCases.count)
    }

    @Test("what several threads count, each in its own tally, is read while they do, and adds up at the end")
    func threads() throws {
        let tallies = (0..<4).map { _ in RequestTally() }
        let over = Shared(false)
        let reader = BackgroundThreads(1) { _ in
            var last: UInt64 = 0
            while !over.value {
                let figures = RequestFigures(tallies)
                let count = figures.requests(.get, status: 200)
                #expect(count >= last, "counters only grow")
                last = count
            }
            return last
        }
        _ = try onThreads(4) { thread in
            for number in 0..<20_000 {
                tallies[thread].record(.get, .fast, status: number % 10 == 0 ? 404 : 200, nanoseconds: 1000)
            }
        }
        over.value = true
        _ = try reader.join()
        let figures = RequestFigures(tallies)
        #expect(figures.requests(.get, status: 200) == 72_000)
        #expect(figures.requests(.get, status: 404) == 8000)
        #expect(figures.durations(.get).count == 80_000)
        #expect(figures.durations(.get).sumNanoseconds == 80_000_000)
    }
}
