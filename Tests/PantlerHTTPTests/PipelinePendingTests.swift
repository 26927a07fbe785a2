import NIOCore
import Support
import Testing

@testable import PantlerHTTP

@Suite("Answers that wait for their turn")
struct PipelinePendingTests {
    @Test("come out in the order of their requests, whatever the order in which they come in")
    func order() {
        var generator = SeededGenerator()
        for _ in 0..<300 { run(&generator) }
    }

    /// Some requests are answered at once and some later, at random moments; what goes out is held against the order in which they came.
    private func run(_ generator: inout SeededGenerator) {
        var pending = PendingAnswers()
        var open: [(number: UInt64, request: Int)] = []
        var sent: [Int] = []
        var next = 0
        func flush() {
            while let (answer, behind) = pending.takeReady() {
                for var bytes in [answer.text, behind.text] {
                    while let request = bytes.readInteger(as: Int.self) { sent.append(request) }
                }
            }
        }
        func settle(_ place: Int) {
            let (number, request) = open.remove(at: place)
            #expect(pending.isNext(number) == (sent.count == request))
            if pending.isNext(number), generator.next() % 2 == 0 {
                sent.append(request)
                var behind = pending.endFirst().text
                while let request = behind.readInteger(as: Int.self) { sent.append(request) }
                return flush()
            }
            let isTaken = pending.settle(number, WireAnswer(ByteBuffer(integer: request)))
            let isTakenAgain = pending.settle(number, WireAnswer(ByteBuffer(integer: request)))
            #expect(isTaken && !isTakenAgain)
            flush()
        }
        for _ in 0..<40 {
            switch generator.next() % 3 {
            case 0:
                open.append((pending.begin(holding: Int(generator.next() % 50)), next))
                next += 1
            case 1 where pending.isEmpty:
                sent.append(next)
                next += 1
            case 1:
                pending.addBehind { _ = $0.writeInteger(next) }
                next += 1
            default:
                if !open.isEmpty { settle(Int(generator.next() % UInt64(open.count))) }
            }
            #expect(pending.count == next - sent.count, "\(generator)")
            #expect(pending.isEmpty == (sent.count == next), "\(generator)")
        }
        while !open.isEmpty { settle(Int(generator.next() % UInt64(open.count))) }
        #expect(sent == Array(0..<next), "\(generator)")
        #expect(pending.heldBytes == 0)
    }
}
