internal import Logging
internal import NIOCore
internal import NIOEmbedded
import PantlerInsight
import PantlerModel
import PantlerSockets
import PantlerStore
import Support
import Synchronization
import Testing

@testable import PantlerHTTP

/// One connection to a real store, without a socket and in made-up time: what is sent is dealt with before `send` returns.
/// Of one thread.
final class TestConnection {
    let channel: EmbeddedChannel
    let eventLoop: EmbeddedEventLoop
    let state: LoopState
    let store: Store
    let tier: LateTier
    let reads: ReadCounter
    /// Calls that are none for the event loop.
    let longCalls: Shared<Int>
    /// The store's time; the connection's own is `eventLoop`'s.
    let clock: ManualClock
    private var unread: [UInt8] = []

    /// - Parameters:
    ///   - needsToken: whether its listener asks for one.
    ///   - policy: of the namespace `ns`.
    init(
        limits: HTTPLimits = HTTPLimits(),
        openConnections: ConnectionCount = ConnectionCount(),
        needsToken: Bool = false,
        opensMetrics: Bool = false,
        access: AccessOptions = AccessOptions(),
        _ policy: (inout Policy) -> Void = { $0.durability = .memory }
    ) throws {
        tier = LateTier()
        eventLoop = EmbeddedEventLoop()
        reads = ReadCounter()
        longCalls = Shared(0)
        clock = ManualClock()
        var storeOptions = StoreOptions()
        storeOptions.maxMemory = 16 << 20
        store = Store(storeOptions, clock: clock, lower: tier, state: try tier.persistedState())
        try store.start()
        let tally = RequestTally()
        var routerOptions = RouterOptions()
        routerOptions.requestTallies = { [tally] }
        // Everything is on the test's thread.
        routerOptions.longWork = { [longCalls] work in
            longCalls.update { $0 += 1 }
            work()
        }
        var listener = Listener(.port(host: "127.0.0.1", port: 0))
        listener.needsToken = needsToken
        var options = HTTPOptions()
        options.allowedHosts = ["localhost"]
        options.opensMetrics = opensMetrics
        state = LoopState(
            eventLoop: eventLoop,
            store: store,
            router: Router(store, routerOptions),
            tally: tally,
            logger: Logger(label: "test"),
            openConnections: openConnections,
            limits: limits,
            doors: [Door(listener, options)],
            access: access
        )
        channel = EmbeddedChannel(loop: eventLoop)
        try channel.pipeline.syncOperations.addHandler(reads)
        try HTTPServer.assemble(channel.pipeline.syncOperations, state, Entrance(door: 0, peer: .local))
        var made = Policy()
        policy(&made)
        store.setPolicy(try NamespaceName("ns"), made) { _ in }
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
    }

    /// Another connection to the same store, on the same loop.
    init(sharing other: TestConnection) throws {
        (tier, store, state) = (other.tier, other.store, other.state)
        (eventLoop, clock, longCalls) = (other.eventLoop, other.clock, other.longCalls)
        reads = ReadCounter()
        channel = EmbeddedChannel(loop: eventLoop)
        try channel.pipeline.syncOperations.addHandler(reads)
        try HTTPServer.assemble(channel.pipeline.syncOperations, state, Entrance(door: 0, peer: .local))
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
    }

    deinit { _ = try? channel.finish(acceptAlreadyClosed: true) }

    // MARK: What the client does

    func send(_ text: String) throws { try send(Array(text.utf8)[...]) }

    func send(_ bytes: ArraySlice<UInt8>) throws {
        try channel.writeInbound(ByteBuffer(bytes: bytes))
    }

    /// A field that says nothing to the routes, and that the fast lane leaves.
    static let otherLane = "Trailer: x\r\n"

    /// GET of a key of `ns`, as plain as can be.
    func get(_ key: String, _ fields: String = "", view: String = "values") throws {
        try send(Self.get(key, fields, view: view))
    }

    static func get(_ key: String, _ fields: String = "", view: String = "values") -> String {
        "GET /v1/namespaces/ns/\(view)/\(key) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n"
    }

    static func put(_ key: String, _ value: String, _ fields: String = "") -> String {
        "PUT /v1/namespaces/ns/values/\(key) HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\(fields)"
            + "Content-Length: \(value.utf8.count)\r\n\r\n\(value)"
    }

    /// PUT of an entry's envelope, as plain as can be.
    static func putEntry(_ key: String, _ envelope: String, _ fields: String = "") -> String {
        "PUT /v1/namespaces/ns/entries/\(key) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\(fields)"
            + "Content-Length: \(envelope.utf8.count)\r\n\r\n\(envelope)"
    }

    /// Puts a value and passes its answer.
    func store(_ key: String, _ value: String, _ fields: String = "") throws {
        try send(Self.put(key, value, fields))
        _ = try answers()
    }

    /// Makes a token, and returns the field that presents it.
    func token(_ role: Role, _ namespaces: String..., expiresAt: Int64? = nil) throws -> (id: TokenID, field: String) {
        let made = Shared<(id: TokenID, field: String)?>(nil)
        let grant = Grant(role: role, namespaces: namespaces.compactMap { NamespacePattern($0) })
        store.tokens.create(grant, expiresAt: expiresAt, nowMilliseconds: store.moment().wall.milliseconds) { result in
            made.value = try? result.map { ($0.record.id, "Authorization: Bearer \($0.secretText)\r\n") }.get()
        }
        tier.commit()
        return try #require(made.value)
    }

    func finishSending() { channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }

    /// All bytes that came back since the last look.
    func received() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try channel.readOutbound(as: ByteBuffer.self) { bytes += piece.readableBytesView }
        return bytes
    }

    /// The answers that came back since the last look, taken apart. The last may be a part of one.
    func answers() throws -> [TestAnswer] {
        unread += try received()
        var answers: [TestAnswer] = []
        while let (answer, length) = TestAnswer.first(in: unread) {
            answers.append(answer)
            unread.removeFirst(length)
        }
        return answers
    }

    var isOpen: Bool { channel.isActive }

    func advance(milliseconds: Int64) { eventLoop.advanceTime(by: .milliseconds(milliseconds)) }

    /// Has the socket take no more, or take all again.
    func setWritable(_ isWritable: Bool) {
        channel.isWritable = isWritable
        channel.pipeline.fireChannelWritabilityChanged()
    }
}

/// An answer off the wire.
struct TestAnswer: CustomStringConvertible {
    var status = 0
    var fields: [String: String] = [:]
    var body = ""

    var description: String { "\(status) \(fields) \(body)" }
    var closes: Bool { fields["connection"] == "close" }

    /// The first answer in `bytes` with its length; `nil` where it is not whole.
    static func first(in bytes: [UInt8]) -> (TestAnswer, Int)? {
        guard let end = bytes.withUnsafeBytes({ MessageBoundary.endOfFields($0) }) else { return nil }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        var answer = TestAnswer()
        answer.status = Int(lines[0].split(separator: " ")[1]) ?? 0
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            answer.fields[String(parts[0])] = String(parts[1].drop { $0 == " " })
        }
        if answer.fields["transfer-encoding"] == "chunked" { return chunks(of: answer, in: bytes, from: end) }
        let length = end + (Int(answer.fields["content-length"] ?? "") ?? 0)
        guard bytes.count >= length else { return nil }
        answer.body = String(decoding: bytes[end..<length], as: UTF8.self)
        return (answer, length)
    }

    /// The answer with its body, of chunks from `start` on.
    private static func chunks(of head: TestAnswer, in bytes: [UInt8], from start: Int) -> (TestAnswer, Int)? {
        var answer = head
        var body: [UInt8] = []
        var offset = start
        while let lineEnd = bytes[offset...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: bytes[offset..<lineEnd - 1], as: UTF8.self)
            guard let size = Int(line, radix: 16), bytes.count >= lineEnd + 3 + size else { return nil }
            body += bytes[lineEnd + 1..<lineEnd + 1 + size]
            offset = lineEnd + 3 + size
            if size == 0 {
                answer.body = String(decoding: body, as: UTF8.self)
                return (answer, offset)
            }
        }
        return nil
    }
}

/// Counts the reads that get through to the socket, and notes the first close.
final class ReadCounter: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private(set) var count = 0
    private(set) var firstClose: CloseMode?

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if firstClose == nil { firstClose = mode }
        context.close(mode: mode, promise: promise)
    }

    func read(context: ChannelHandlerContext) {
        count += 1
        context.read()
    }
}

/// Takes no more from the first write on, until it is flushed: as SwiftNIO's own sockets are with large writes.
final class NarrowSocket: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private let channel: EmbeddedChannel

    init(_ channel: EmbeddedChannel) { self.channel = channel }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        set(false, context)
        context.write(data, promise: promise)
    }

    func flush(context: ChannelHandlerContext) {
        context.flush()
        set(true, context)
    }

    private func set(_ isWritable: Bool, _ context: ChannelHandlerContext) {
        channel.isWritable = isWritable
        context.fireChannelWritabilityChanged()
    }
}

/// Keeps all that is written until it is let go, as a socket does whose other side takes its time.
final class HeldSocket: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private let channel: EmbeddedChannel
    private var held: [(NIOAny, EventLoopPromise<Void>?)] = []

    init(_ channel: EmbeddedChannel) { self.channel = channel }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        held.append((data, promise))
    }

    func flush(context: ChannelHandlerContext) {
        guard channel.isWritable, !held.isEmpty else { return }
        channel.isWritable = false
        context.fireChannelWritabilityChanged()
    }

    func letGo(_ context: ChannelHandlerContext) {
        for (data, promise) in held { context.write(data, promise: promise) }
        held = []
        context.flush()
        channel.isWritable = true
        context.fireChannelWritabilityChanged()
    }
}

/// A lower tier that is always asked, holds nothing but what it is given, and answers when it is told to.
final class LateTier: LowerTier {
    private struct State {
        var rows: [[UInt8]: Entry] = [:]
        var reads: [(key: String, answer: @Sendable () -> Void)] = []
        var settled: [@Sendable (TierFault?) -> Void] = []
        var puts: [String] = []
        var isFull = false
        var answersAtOnce = false
    }

    private let state = Mutex(State())
    let tier = Tier.disk
    let mayBringBack = false

    func plant(_ key: String, _ value: String, version: Version = 1) {
        let entry = Entry(
            value: Array(value.utf8),
            kind: .bytes(mediaType: "text/plain"),
            version: version,
            expiresAt: .never
        )
        state.withLock { $0.rows[Array(key.utf8)] = entry }
    }

    /// From now on answers reads before they return.
    func answerAtOnce() { state.withLock { $0.answersAtOnce = true } }

    /// The keys whose reads are under way, in the order of the calls.
    var reads: [String] { state.withLock { $0.reads.map(\.key) } }

    func answer(_ key: String) {
        let answer = state.withLock { state in
            state.reads.firstIndex { $0.key == key }.map { state.reads.remove(at: $0).answer }
        }
        answer?()
    }

    /// The keys of the puts that were made, in their order.
    var puts: [String] { state.withLock { $0.puts } }

    /// How many changes wait to be committed and synced, or for room.
    var waiting: Int { state.withLock { $0.settled.count } }

    /// From now on a change of durability `behind` waits for room until the next commit.
    func fill() { state.withLock { $0.isFull = true } }

    /// Commits all that waits, but for the change at `place` among them, which fails.
    func commit(failing place: Int? = nil) {
        let settled = state.withLock { state in
            defer {
                state.settled = []
                state.isFull = false
            }
            return state.settled
        }
        for (index, completion) in settled.enumerated() {
            completion(index == place ? TierFault(.full, "full") : nil)
        }
    }

    /// Commits the one change at `place` among those that wait.
    func commitOne(_ place: Int) {
        let completion = state.withLock { $0.settled.remove(at: place) }
        completion(nil)
    }

    func readHead(
        _ address: EntryAddress,
        completion: @escaping @Sendable (Result<EntryHead?, TierFault>) -> Void
    ) {
        read(address) { entry in completion(entry.map { $0.map { EntryHead($0) } }) }
    }

    func read(_ address: EntryAddress, completion: @escaping @Sendable (Result<Entry?, TierFault>) -> Void) {
        let answer: (@Sendable () -> Void)? = state.withLock { state in
            let entry = state.rows[address.key]
            let answer: @Sendable () -> Void = { completion(.success(entry)) }
            if state.answersAtOnce { return answer }
            state.reads.append((String(decoding: address.key, as: UTF8.self), answer))
            return nil
        }
        answer?()
    }

    func settle(
        _ ticket: WriteTicket,
        _ durability: Durability,
        completion: @escaping @Sendable (TierFault?) -> Void
    ) -> Bool {
        if isSettled(ticket, durability) { return true }
        state.withLock { $0.settled.append(completion) }
        return false
    }

    func settleAll(completion: @escaping @Sendable (TierFault?) -> Void) -> Bool {
        settle(0, .through, completion: completion)
    }

    func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool {
        switch durability {
        case .memory: true
        case .behind: state.withLock { !$0.isFull }
        case .through: false
        }
    }

    func enqueue(_ mutation: Mutation, _ durability: Durability) -> WriteTicket {
        state.withLock { state in
            if case .put(let address, _, _) = mutation {
                state.puts.append(String(decoding: address.key, as: UTF8.self))
            }
            return 1
        }
    }

    // What no test here asks for:
    func start(delegate: any LowerTierDelegate, clock: any Clock) {}
    func persistedState() throws(TierFault) -> PersistedState { PersistedState() }
    func list(
        namespace: NamespaceID,
        prefix: [UInt8],
        after: [UInt8]?,
        limit: Int,
        completion: @escaping @Sendable (Result<[ListedEntry], TierFault>) -> Void
    ) { completion(.success([])) }
    func removePrefix(
        namespace: NamespaceID,
        prefix: [UInt8],
        before: Version,
        durability: Durability,
        completion: @escaping @Sendable (Result<Int, TierFault>) -> Void
    ) { completion(.success(0)) }
    func sweepInvalidated(completion: @escaping @Sendable (TierFault?) -> Void) { completion(nil) }
    func reserveVersions(below ceiling: Version, completion: @escaping @Sendable (TierFault?) -> Void) {
        completion(nil)
    }
    func noteLastUse(_ hash: UInt64, at moment: UInt64) {}
    func saveHotSet(_ hashes: [UInt64]) {}
    func loadHotSet(
        _ body: @escaping @Sendable ([(EntryAddress, Entry)]) -> Bool,
        completion: @escaping @Sendable () -> Void
    ) { completion() }
    func usage(of namespace: NamespaceID) -> TierUsage { TierUsage() }
    func health() -> TierHealth { TierHealth() }
    func flush() throws(TierFault) {}
    func close() {}
}
