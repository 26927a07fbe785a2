internal import NIOCore

/// Where the server listens, and what it allows.
package struct HTTPOptions: Sendable {
    /// An address or a name of this machine.
    package var host = "127.0.0.1"
    /// 0 = any free port; `HTTPServer.port` tells which.
    package var port = 8080
    /// Names that a Host field may carry; empty = `host`, and the names of this machine to itself; `*` = any.
    /// Addresses are always served.
    package var allowedHosts: [String] = []
    package var limits = HTTPLimits()
    /// Whether each event loop keeps to a core of its own, where there are as many loops as cores.
    package var pinsThreads = false
    /// Which requests are logged. May change while the server runs.
    package var access = AccessOptions()

    package init() {}
}

/// The limits of what a client may ask of a connection. They may change while the server runs; requests that have begun keep those that
/// they began with.
package struct HTTPLimits: Hashable, Sendable {
    /// Bytes of a request's line and fields.
    package var headSize = 16 << 10
    /// Bytes of a request's target. RFC 9110 recommends that everyone takes at least 8,000.
    package var targetSize = 8 << 10
    /// Bytes of a request's body; `bytesInFlight` bounds it as well.
    package var bodySize = 64 << 20
    /// Bytes of the answer to a batch of gets.
    package var answerSize = 64 << 20
    /// Bytes of bodies being received and of large answers not taken yet, of all connections together.
    package var bytesInFlight = 256 << 20
    /// Open connections; one more is answered 503 and closed.
    package var connections = 10_000
    /// Requests of one connection that wait for their answers; no more are read until some are answered.
    package var pipelinedRequests = 1000
    /// The longest time from a request's first byte to the end of its head.
    package var headTimeout = Duration.seconds(10)
    /// The longest time without a byte of a body that is to come.
    package var bodyTimeout = Duration.seconds(30)
    /// The longest time without a request, and without the client's taking what is sent to it.
    package var idleTimeout = Duration.seconds(75)

    package init() {}
}

/// The timeouts of `HTTPLimits`, in the unit that deadlines are counted in.
struct Patience {
    let head: TimeAmount
    let body: TimeAmount
    let idle: TimeAmount

    init(_ limits: HTTPLimits) {
        head = TimeAmount(limits.headTimeout)
        body = TimeAmount(limits.bodyTimeout)
        idle = TimeAmount(limits.idleTimeout)
    }
}
