import Dispatch
import NIOCore
import PantlerSockets
import Support
import Testing

@Suite("A loop")
struct SocketLoopTests {
    private let loop: SocketLoop

    init() throws { loop = try SocketLoop(name: "test") }

    @Test("runs what several threads have for it, that of each in its order, and all on its own thread")
    func threads() throws {
        let order = Shared<[[Int]]>(Array(repeating: [], count: 4))
        let elsewhere = Shared(0)
        let loop = loop
        _ = try onThreads(4) { thread in
            for number in 0..<2000 {
                loop.execute {
                    if !loop.inEventLoop { elsewhere.update { $0 += 1 } }
                    order.update { $0[thread].append(number) }
                }
            }
        }
        try eventually("all pieces are run") { order.update { $0.allSatisfy { $0.count == 2000 } } }
        #expect(order.value.allSatisfy { $0 == Array(0..<2000) })
        #expect(elsewhere.value == 0)
        #expect(!loop.inEventLoop)
    }

    @Test("is woken each time that it sleeps")
    func sleeping() throws {
        for number in 0..<500 { #expect(try value(of: loop.submit { number }) == number) }
    }

    @Test("runs what was set on it, after what was there before")
    func onLoop() throws {
        let order = Shared<[Int]>([])
        let isDone = DispatchSemaphore(value: 0)
        let blocked = try BlockedLoop(loop)
        loop.execute { [loop] in
            loop.execute {
                order.update { $0.append(3) }
                isDone.signal()
            }
            order.update { $0.append(1) }
        }
        loop.execute { order.update { $0.append(2) } }
        blocked.release()
        try awaitSignal(isDone, "the piece set on the loop")
        #expect(order.value == [1, 2, 3])
    }

    @Test("completes the futures of what it runs")
    func futures() throws {
        let loop = loop
        #expect(try value(of: loop.submit { loop.inEventLoop }))
        #expect(try value(of: loop.flatSubmit { loop.submit { 7 } }) == 7)
        #expect(throws: Failure.self) { try value(of: loop.submit { throw Failure("no") }) }
        #expect(throws: Failure.self) {
            try value(of: loop.flatSubmit { loop.submit { throw Failure("no") } })
        }
        #expect(loop.next() === loop && loop.any() === loop)
        #expect(Array(loop.makeIterator()).count == 1)
    }

    @Test("does at its time what is to be done later, also where it sleeps for longer")
    func timers() throws {
        let far = loop.scheduleTask(in: .hours(1)) {}
        try value(of: loop.submit {})
        let deadline = NIODeadline.now() + .milliseconds(2)
        let lateness = loop.scheduleTask(deadline: deadline) { NIODeadline.now() - deadline }
        #expect(try value(of: lateness.futureResult) >= .zero)
        let loop = loop
        let onLoop = loop.flatSubmit { loop.scheduleTask(in: .milliseconds(1)) { loop.inEventLoop }.futureResult }
        #expect(try value(of: onLoop))
        #expect(throws: Failure.self) {
            try value(of: loop.scheduleTask(in: .zero) { throw Failure("no") }.futureResult)
        }
        far.cancel()
    }

    @Test("does not do what is cancelled, from its own thread or another")
    func cancelling() throws {
        let loop = loop
        let fired = Shared<[Int]>([])
        let blocked = try BlockedLoop(loop)
        let first = loop.scheduleTask(in: .zero) { fired.update { $0.append(1) } }
        first.cancel()
        let onLoop = loop.submit {
            let second = loop.scheduleTask(in: .zero) { fired.update { $0.append(2) } }
            second.cancel()
            return second.futureResult
        }
        blocked.release()
        let second = try value(of: onLoop)
        _ = try value(of: loop.scheduleTask(in: .zero) { fired.update { $0.append(3) } }.futureResult)
        #expect(fired.value == [3])
        #expect(throws: EventLoopError.cancelled) { try value(of: first.futureResult) }
        #expect(throws: EventLoopError.cancelled) { try value(of: second) }
    }

    @Test("cancelling what is done already changes nothing")
    func cancelledLate() throws {
        let scheduled = loop.scheduleTask(in: .zero) { 5 }
        #expect(try value(of: scheduled.futureResult) == 5)
        scheduled.cancel()
        #expect(try value(of: scheduled.futureResult) == 5)
    }

    enum State {
        case idle
        case woken
        case atWork
    }

    @Test("does what it has before it deals with bytes that came later", arguments: [State.idle, .woken, .atWork])
    func beforeBytes(state: State) throws {
        for _ in 0..<20 {
            let order = Shared<[String]>([])
            let fixture = try SocketFixture { socket in
                try socket.pipeline.syncOperations.addHandler(ReadNote { order.update { $0.append("bytes") } })
            }
            let blocked = state == .idle ? nil : try BlockedLoop(fixture.loop, again: state == .atWork)
            fixture.loop.execute { order.update { $0.append("piece") } }
            try fixture.peer.send([1])
            blocked?.release()
            try fixture.record.awaitBytes([1])
            #expect(order.value == ["piece", "bytes"])
        }
    }

    private final class ReadNote: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        private let note: @Sendable () -> Void

        init(_ note: @escaping @Sendable () -> Void) { self.note = note }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            note()
            context.fireChannelRead(data)
        }
    }
}
