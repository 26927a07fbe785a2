internal import NIOCore
internal import NIOHTTP1
package import PantlerInsight
import PantlerModel
internal import PantlerSockets
package import PantlerStore
import Synchronization

/// Figures for the metrics that only the executable knows.
package struct ServiceFigures: Sendable {
    /// Bytes that the data folder may have.
    package var maxDiskBytes: Int64?
    /// Whether the latest configuration that was read is the one in force, and when the one in force was read, in seconds since 1970.
    package var isConfigurationCurrent = true
    package var configurationReadSeconds: Double?

    package init() {}
}

/// What a router is made with.
package struct RouterOptions: Sendable {
    /// Longest body of a request, in bytes, where that is less than what the connection takes.
    package var maxBody = Int.max
    /// Bytes of bodies being received and of large answers not taken yet, of all connections together.
    package var bytesInFlight = HTTPLimits().bytesInFlight
    /// What `/openapi.yaml` serves.
    package var document: [UInt8] = []
    /// Makes what `/openapi.json` serves. Called off the loops.
    package var documentInJSON: @Sendable () -> [UInt8] = { [] }
    /// Compresses a text by gzip (RFC 1952), for clients that take that. Called off the loops.
    package var gzip: (@Sendable (UnsafeRawBufferPointer) -> [UInt8]?)?
    /// The server's version, as `/v1/stats` and the metrics tell it.
    package var serverVersion = "0"
    /// The commit that the server was built from, as the metrics tell it.
    package var serverCommit = ""
    package var figures: @Sendable () -> ServiceFigures = { ServiceFigures() }
    /// The tallies of all event loops.
    package var requestTallies: @Sendable () -> [RequestTally] = { [] }
    /// Runs calls that would hold an event loop for too long; `nil` = threads of the router's own.
    package var longWork: (@Sendable (@escaping @Sendable () -> Void) -> Void)?

    package init() {}
}

/// The outcome of judging a request's head.
enum Admission: Sendable {
    /// The request's body may have up to `maxBody` bytes. The call is `nil` for a question about the server as a whole (`OPTIONS *`).
    case accepted(Call?, maxBody: Int)
    /// The request is answered without its body.
    case refused(Problem, Operation)
}

/// Finds what a request asks for, and has it answered.
///
/// Each resource has a file, in which an extension of the router has the resource's calls. These run on the connection's event loop, or on
/// another thread if they are long. They answer at once, or hand the exchange on to the store's completion. A call that throws has not
/// answered.
package final class Router: Sendable {
    let store: Store
    let options: RouterOptions
    /// The bytes in flight of all connections.
    let flight: Flight
    private let draining = Atomic(false)
    private let stopping = Atomic(false)
    private let facts = Mutex<[ListenerFacts]>([])
    /// The threads for calls that would hold an event loop for too long (`Call.isLong`).
    private let longWork = WorkerPool("requests", width: 2)
    private let longCallCount = Atomic<UInt64>(0)
    private let loops = Mutex<[(stays: LoopStays, traffic: LoopTraffic)]>([])
    /// The connections of all loops.
    let connections = ConnectionCount()
    /// Who was refused, and how often.
    let refusals = RefusalFigures()
    let failedTokens = FailedTokens()
    private let tokenWatch = Mutex<(@Sendable () -> Void)?>(nil)
    /// The TLS handshakes of all loops.
    let handshakes = Handshakes()

    package init(_ store: Store, _ options: RouterOptions) {
        self.store = store
        self.options = options
        flight = Flight(limit: options.bytesInFlight)
    }

    /// Whether the server is on its way out: it is no longer ready then.
    var isDraining: Bool { draining.load(ordering: .relaxed) }

    func beginDraining() { draining.store(true, ordering: .relaxed) }

    /// Whether the server will drain soon, and wants no new callers: it is no longer ready.
    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    func beginStopping() { stopping.store(true, ordering: .relaxed) }

    /// Where the server listens, in the order of `HTTPOptions.listeners`; none before it does.
    var listenerFacts: [ListenerFacts] { facts.withLock { $0 } }

    func setListenerFacts(_ facts: [ListenerFacts]) { self.facts.withLock { $0 = facts } }

    // MARK: Tokens

    /// Has `body` called after each change of a token that a call has made. It is to end what waits under a token that is gone.
    func watchTokens(_ body: @escaping @Sendable () -> Void) { tokenWatch.withLock { $0 = body } }

    func noteTokenChange() { tokenWatch.withLock { $0 }?() }

    // MARK: Long work

    /// Adds a loop to those whose stays and traffic the metrics tell.
    func watch(_ stays: LoopStays, _ traffic: LoopTraffic) { loops.withLock { $0.append((stays, traffic)) } }

    /// Bytes that all loops have received and sent.
    var traffic: (received: UInt64, sent: UInt64) {
        loops.withLock { loops in
            loops.reduce((0, 0)) { ($0.0 + $1.traffic.receivedBytes, $0.1 + $1.traffic.sentBytes) }
        }
    }

    /// How long single events have held the loops.
    var loopStays: LatencyHistogram {
        loops.withLock { loops in
            loops.reduce(into: LatencyHistogram()) { sum, loop in
                sum += LatencyHistogram(sumNanoseconds: loop.stays.sumNanoseconds) { loop.stays.count($0) }
            }
        }
    }

    /// Calls that were answered off the event loops.
    var longCalls: UInt64 { longCallCount.load(ordering: .relaxed) }

    /// Drops long work that has not begun, and waits for what has. Blocks.
    func closeLongWork() { longWork.close() }

    // MARK: Requests

    /// What a call needs of its caller before anything is looked at but its path; `token` for what is not there, so that nobody learns
    /// without one what is.
    ///
    /// - Parameters:
    ///   - target: path and query, as sent.
    ///   - opensMetrics: whether the metrics are open to all.
    func need(_ method: Method, _ target: [UInt8], opensMetrics: Bool) -> Need {
        guard let resource = route(target)?.resource else { return .token }
        return opensMetrics && resource == .metrics ? .nothing : resource.need(method)
    }

    /// Judges a head before its body is read.
    ///
    /// - Parameters:
    ///   - target: path and query, as sent.
    ///   - caller: who calls.
    func admit(_ method: Method, _ target: [UInt8], _ headers: HTTPHeaders, by caller: Caller) -> Admission {
        if method == .options, target == Self.wholeServer { return .accepted(nil, maxBody: options.maxBody) }
        do {
            let call = try call(method, target, headers, caller)
            try checkLength(headers)
            return .accepted(call, maxBody: options.maxBody)
        } catch {
            return .refused(error, operation(method, target))
        }
    }

    /// Answers a request that was admitted, now or later, exactly once. To be called on the exchange's event loop.
    ///
    /// A call that would hold the loop for long is answered on another thread.
    ///
    /// - Parameter call: what `admit` made of its head.
    func respond(to request: Request, as call: Call?, on exchange: Exchange) {
        guard let call, call.method != .options else { return exchange.respond(allowed(request.target)) }
        guard isLong(call, request) else { return answerOrRefuse(call, request, exchange) }
        noteLongCall()
        perform(true) { [self] in answerOrRefuse(call, request, exchange) }
    }

    /// Counts a call that is answered elsewhere than on its loop.
    func noteLongCall() { longCallCount.wrappingAdd(1, ordering: .relaxed) }

    /// Whether answering would hold an event loop for too long.
    func isLong(_ call: Call, _ request: Request) -> Bool {
        call.isLong(bodyBytes: request.body.readableBytes, namespaces: store.namespaceCount)
    }

    /// Runs a part of a call: on the caller's thread, or on another one if the part is long.
    func perform(_ isLong: Bool, _ work: @escaping @Sendable () -> Void) {
        guard isLong else { return work() }
        if let run = options.longWork { run(work) } else { longWork.async(work) }
    }

    /// Releases a body that nobody reads any more, on another thread if it is long. Only the caller may hold another reference to it.
    func dispose(of body: ByteBuffer) {
        guard body.capacity >= Call.longBody else { return }
        perform(true) { withExtendedLifetime(body) {} }
    }

    private func answerOrRefuse(_ call: Call, _ request: Request, _ exchange: Exchange) {
        do {
            try answer(call, request, exchange)
        } catch {
            exchange.respond(Response(problem: error, operation: call.operation))
        }
    }

    private func answer(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        switch call.resource {
        case .entry, .value:
            switch call.method {
            case .put where call.resource == .entry: try putEntry(call, request, exchange)
            case .put: try putValue(call, request, exchange)
            case .patch: try patchEntry(call, request, exchange)
            case .delete: try deleteEntry(call, exchange)
            case .get, .head, .post, .options, .other: try read(call, exchange)
            }
        case .counter: try count(call, request, exchange)
        case .lease: try answerLease(call, request, exchange)
        case .leases: try listLeases(call, exchange)
        case .entries: try list(call, exchange)
        case .batchGet: try getBatch(call, request, exchange)
        case .batchSet: try setBatch(call, request, exchange)
        case .batchDelete: try deleteBatch(call, request, exchange)
        case .batchLease: try leaseBatch(call, request, exchange)
        case .invalidate: try invalidate(call, request, exchange)
        case .namespace: try answerNamespace(call, request, exchange)
        case .namespaces: exchange.respond(listNamespaces(seenBy: exchange.caller))
        case .token: exchange.respond(try ownToken(exchange.caller))
        case .tokens: try answerTokens(call, request, exchange)
        case .tokenRecord: try answerToken(call, exchange)
        case .tokenRotation: try rotateToken(call, request, exchange)
        case .listeners: exchange.respond(listeners(opensMetrics: exchange.opensMetrics))
        case .namespaceStats: exchange.respond(try namespaceStatistics(call))
        case .stats: exchange.respond(statistics(call))
        case .metrics: exchange.respond(metrics(call))
        case .livez, .readyz, .root, .document, .documentInJSON: exchange.respond(service(call))
        }
    }

    // MARK: Heads

    private static let wholeServer = Array("*".utf8)

    private func call(
        _ method: Method,
        _ target: [UInt8],
        _ headers: HTTPHeaders,
        _ caller: Caller
    ) throws(Problem) -> Call {
        let (path, query) = Self.split(target)
        return try target.withBytes { bytes throws(Problem) in
            try Call(method, bytes, path: path, query: query, headers, by: caller)
        }
    }

    private static func split(_ target: [UInt8]) -> (path: Range<Int>, query: Range<Int>?) {
        guard let mark = target.firstIndex(of: UInt8(ascii: "?")) else { return (0..<target.count, nil) }
        return (0..<mark, mark + 1..<target.count)
    }

    func route(_ target: [UInt8]) -> Route? {
        target.withUnsafeBytes { Route($0, path: Self.split(target).path) }
    }

    /// The valid name of a namespace that a path has.
    func namespace(_ target: [UInt8]) -> String? {
        guard let range = route(target)?.namespace else { return nil }
        let name = target[range].withUnsafeBytes { PercentDecoding.decode($0) }
        return name.flatMap { NamespaceName.isValid($0) ? String(decoding: $0, as: UTF8.self) : nil }
    }

    /// What a request counts as whose head was refused.
    func operation(_ method: Method, _ target: [UInt8]) -> Operation {
        route(target)?.resource.operation(method) ?? .other
    }

    private func checkLength(_ headers: HTTPHeaders) throws(Problem) {
        // A length that is no number was refused before this is called.
        guard let length = headers.first(name: "content-length").flatMap({ Int64($0) }), length > Int64(options.maxBody)
        else { return }
        throw Problem(.bodyTooLarge, "The body has \(length) bytes; at most \(options.maxBody) are taken.")
    }

    /// The answer to OPTIONS.
    private func allowed(_ target: [UInt8]) -> Response {
        let everything = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        let allow = target == Self.wholeServer ? everything : route(target)?.resource.allow
        guard let allow else {
            return Response(problem: Problem(.routeNotFound, "There is nothing under this path."), operation: .other)
        }
        return Response(status: 204, headers: [("Allow", allow)], operation: .other)
    }
}
