internal import CPantler
internal import Foundation
import Glibc
internal import NIOCore
import Synchronization

/// An event loop over epoll(7): a thread with its sockets, its timers, and the work that other threads hand over.
///
/// SwiftNIO's protocols, not its sockets: a channel here has its handlers, its promises and its TLS as any other, but a request
/// that is answered in place passes none of them. What SwiftNIO's own sockets do between epoll and a handler, and back, was a fifth of
/// a hit, and most of what was cold with a thousand connections (`Tests/Benchmarks/README.md`).
///
/// An iteration fires the timers that are due, does the work of other threads, waits, and deals with the sockets that are ready, in the
/// order in which the kernel names them. Each of these ends with sending the answers that it has gathered (`Outbox`), so that whatever
/// comes of that, as a timer, is known before the loop waits.
// @unchecked: `inbox`, `isAsleep`, `thread` and the two descriptors are constants or synchronised. All else is the loop's own: `run`
// and what it calls touch it, and whatever comes from outside does so through `execute`, or where `inEventLoop` holds.
package final class SocketLoop: @unchecked Sendable {
    typealias Piece = @Sendable () -> Void

    private struct Inbox {
        var pieces: [Piece] = []
        var atEnd: [Piece] = []
        var isEnding = false
        var hasEnded = false
    }

    private let inbox = Mutex(Inbox())
    /// Whether the loop has to be woken for what comes. Set under the inbox's lock alone, and only while it is empty, so that no
    /// piece is slept over; cleared by the loop as it wakes and by the first that wakes it, so that one system call is enough for
    /// all that comes meanwhile.
    private let isAsleep = Atomic(false)
    /// The loop's thread (`pthread_t`), once it runs.
    private let thread = Atomic<UInt>(0)
    private let epoll: CInt
    private let alarm: CInt

    private var sources = SourceTable()
    private var timers = LoopTimers()
    private var scratch = ByteBuffer()
    private var outbox = Outbox()
    private var stay = LoopStay()
    /// How long single events have held the loop.
    private let stays: LoopStays
    let traffic: LoopTraffic

    /// Sockets dealt with between two looks at the timers and at what other threads have.
    private static let eventsAtOnce = 512
    /// Bytes read at a time. One buffer for all connections: what is left of it once they have been asked is copied.
    private static let readBytes = 64 << 10
    /// Timers that are fired between two looks at the sockets: thousands of connections may come to their ends at one time.
    private static let timersAtOnce = 64
    /// How many turns ahead the memory of a socket is fetched.
    private static let eventsAhead = 2
    /// The alarm's token, which no socket has.
    private static let alarmToken = UInt64.max

    /// Starts the loop's thread.
    ///
    /// - Parameters:
    ///   - name: of the thread, for `top -H`; up to 15 bytes.
    ///   - stays: counts how long single events hold the loop.
    ///   - traffic: counts what its sockets receive and send.
    /// - Throws: `IOError`, where the process has no descriptor left.
    package init(
        name: String,
        stays: LoopStays = LoopStays(bounds: []),
        traffic: LoopTraffic = LoopTraffic()
    ) throws {
        self.stays = stays
        self.traffic = traffic
        epoll = try checked("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC)) }
        do {
            alarm = try checked("eventfd") { eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK)) }
        } catch {
            Glibc.close(epoll)
            throw error
        }
        // Edge-triggered: each write is told once, and nobody needs to read what was written.
        try control(EPOLL_CTL_ADD, alarm, EPOLLIN.rawValue | EPOLLET.rawValue, Self.alarmToken)
        let thread = Thread {
            // Foundation tells the system of a name only once its own start of the thread has returned, which the thread may overtake.
            pantler_name_thread(name)
            self.run()
        }
        thread.start()
    }

    deinit {
        Glibc.close(epoll)
        Glibc.close(alarm)
    }

    package var inEventLoop: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    // MARK: Work of other threads

    /// Hands the loop a piece of work, to be done after those that it has. From any thread; the piece is dropped once the loop has ended.
    package func execute(_ piece: @escaping @Sendable () -> Void) {
        let wakes = inbox.withLock { inbox in
            guard !inbox.hasEnded else { return false }
            inbox.pieces.append(piece)
            return isAsleep.exchange(false, ordering: .relaxed)
        }
        if wakes { wake() }
    }

    /// Ends the loop, with all that is still open on it; `completion` runs at the end, on its thread, or at once if it has ended.
    package func end(_ completion: @escaping @Sendable () -> Void) {
        let (hasEnded, wakes) = inbox.withLock { inbox in
            if !inbox.hasEnded { inbox.atEnd.append(completion) }
            inbox.isEnding = true
            return (inbox.hasEnded, isAsleep.exchange(false, ordering: .relaxed))
        }
        if hasEnded { return completion() }
        if wakes { wake() }
    }

    private func wake() {
        var one: UInt64 = 1
        _ = write(alarm, &one, MemoryLayout.size(ofValue: one))
    }

    private enum LoopStep {
        case pieces
        case rest
        case end
    }

    private func nextStep() -> LoopStep {
        inbox.withLock { inbox in
            if !inbox.pieces.isEmpty { return .pieces }
            if inbox.isEnding { return .end }
            isAsleep.store(true, ordering: .relaxed)
            return .rest
        }
    }

    private func runPieces() {
        let pieces = inbox.withLock { inbox in
            defer { inbox.pieces = [] }
            return inbox.pieces
        }
        if pieces.isEmpty { return sendAll() }
        _ = now
        for piece in pieces {
            piece()
            endEvent()
        }
        sendAll()
    }

    // MARK: The loop

    private func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        let events = UnsafeMutableBufferPointer<epoll_event>.allocate(capacity: Self.eventsAtOnce)
        defer { events.deallocate() }
        while true {
            let milliseconds = fireTimers()
            switch nextStep() {
            case .end: return finish()
            case .pieces:
                runPieces()
                poll(events, milliseconds: 0)
            case .rest: poll(events, milliseconds: milliseconds)
            }
        }
    }

    /// Fires what is due. Returns how long the loop may rest, as epoll_wait(2) takes it.
    private func fireTimers() -> CInt {
        let now = now
        endEvent()
        for timer in timers.due(at: now, atMost: Self.timersAtOnce) {
            timer.fire()
            _ = self.now
            endEvent()
        }
        sendAll()
        return timers.milliseconds(from: now)
    }

    /// Waits until sockets are ready, and deals with them. Work that other threads handed over before a socket's bytes came is done before
    /// these are dealt with.
    private func poll(_ events: UnsafeMutableBufferPointer<epoll_event>, milliseconds: CInt) {
        stay.rest()
        let count = Int(epoll_wait(epoll, events.baseAddress, CInt(events.count), milliseconds))
        // Whoever hands something to a loop that is asleep clears this first; to one that was not it may have been handed unseen.
        let mayHavePieces = !isAsleep.exchange(false, ordering: .relaxed)
        if mayHavePieces { runPieces() }
        // At worst a signal has interrupted the wait: the loop looks again.
        guard count > 0 else { return }
        for index in 0..<count {
            if index + Self.eventsAhead < count { sources.lookAhead(events[index + Self.eventsAhead].data.u64) }
            // The alarm's number is no socket's: it has done its work by waking.
            sources[events[index].data.u64]?.isReady(events[index].events)
            endEvent()
        }
        sendAll()
    }

    private func finish() {
        repeat {
            runPieces()
            // Including the sockets that a piece of work has just added.
            for source in sources.all { source.loopEnds() }
            for timer in timers.takeAll() { timer.drop() }
        } while !hasEnded()
        let completions = inbox.withLock { inbox in
            defer { inbox.atEnd = [] }
            return inbox.atEnd
        }
        for completion in completions { completion() }
        // The system may give another thread the same number.
        thread.store(0, ordering: .relaxed)
    }

    /// Ends the taking of work, if none is left. Returns whether that is so.
    private func hasEnded() -> Bool {
        inbox.withLock { inbox in
            inbox.hasEnded = inbox.pieces.isEmpty
            return inbox.hasEnded
        }
    }

    // MARK: Sockets (on the loop)

    /// Has the loop wait for what a socket is interested in, until `remove`.
    func add(_ source: EventSource) throws {
        let token = sources.insert(source)
        source.token = token
        do {
            try control(EPOLL_CTL_ADD, source.descriptor, source.interest, token)
        } catch {
            sources.remove(source)
            throw error
        }
    }

    /// Has the loop wait for what the socket is interested in now.
    func update(_ source: EventSource) throws {
        try control(EPOLL_CTL_MOD, source.descriptor, source.interest, source.token)
    }

    /// Forgets a socket. To be called before its descriptor is closed, by which epoll forgets it too.
    ///
    /// - Parameter isShared: whether another process has the socket too: closing this one's descriptor is no end for it then, so that epoll has
    ///   to be told.
    func remove(_ source: EventSource, isShared: Bool = false) {
        if isShared { try? control(EPOLL_CTL_DEL, source.descriptor, 0, source.token) }
        sources.remove(source)
    }

    private func control(_ operation: CInt, _ descriptor: CInt, _ interest: UInt32, _ token: UInt64) throws {
        var event = epoll_event(events: interest, data: epoll_data_t(u64: token))
        _ = try checked("epoll_ctl") { epoll_ctl(epoll, operation, descriptor, &event) }
    }

    /// Runs `body` with an empty buffer for a read to fill. Whoever wants to keep the bytes copies them, or keeps the whole buffer.
    func withScratch(_ body: (inout ByteBuffer) -> Void) {
        var bytes = ByteBuffer()
        swap(&bytes, &scratch)
        bytes.clear(minimumCapacity: Self.readBytes)
        body(&bytes)
        scratch = bytes
    }

    /// Sends small pieces of several sockets together, at the end of the loop's turn at the latest.
    func send(_ bytes: ByteBuffer, from socket: StreamSocket) {
        outbox.add(bytes, for: socket)
        if outbox.isFull { sendAll() }
    }

    /// Sends all that has been gathered, also where this is called from within: sending to one socket may have a handler want to send to
    /// another.
    func sendAll() {
        if outbox.isEmpty { return }
        while let (first, bytes) = outbox.take() { first.socket.sendQueued(bytes, first.range) }
        outbox.reset()
    }

    // MARK: How long events hold the loop

    /// Takes note of a time that was read on the loop's thread.
    func noteTime(_ time: NIODeadline) { stay.note(time.uptimeNanoseconds) }

    private func endEvent() {
        if let nanoseconds = stay.endEvent() { stays.record(nanoseconds: nanoseconds) }
    }

    // MARK: Timers

    func add(_ timer: LoopTimer) {
        if inEventLoop { timers.add(timer) } else { execute { self.timers.add(timer) } }
    }

    func cancel(_ timer: LoopTimer) {
        guard timer.cancel() else { return }
        if inEventLoop { timers.noteCancelled() } else { execute { self.timers.noteCancelled() } }
    }
}
