internal import NIOCore
package import PantlerModel

/// Where the server listens, and what it allows. What may change while it runs (`HTTPServer.reload`) says so.
package struct HTTPOptions: Sendable {
    /// At least one. The same as long as the server runs.
    package var listeners = [Listener(.port(host: "127.0.0.1", port: 8080))]
    /// Names that a Host field may carry; empty = the listener's own address, and the names of this machine to itself, or any at a listener
    /// that no page in a browser can use (`Door`); `*` = any. Addresses are always served. Live.
    package var allowedHosts: [String] = []
    /// Live.
    package var limits = HTTPLimits()
    /// What the listeners that speak TLS speak it with; `nil` only where none does. Live.
    package var tls: TLSOptions?
    /// Whether `/metrics` is open to those who have no token, at the listeners that need one. Live.
    package var opensMetrics = false
    /// Whether each event loop keeps to a core of its own, where there are as many loops as cores.
    package var pinsThreads = false
    /// Which requests are logged. Live.
    package var access = AccessOptions()

    package init() {}
}

/// A place where the server listens, and what it asks of those who come there.
package struct Listener: Hashable, Sendable {
    package enum Place: Hashable, Sendable {
        /// An address of this machine, a name that it has, or `*` for all its addresses. Port 0 = any free one; `HTTPServer.listenerFacts`
        /// tells which.
        case port(host: String, port: Int)
        /// A Unix socket, made with these bits of its mode, and for this group where one is named.
        case socket(path: String, mode: UInt16, group: String?)
    }

    package var place: Place
    /// Whether a call needs a token that allows it. Where it does not, everybody may do everything.
    package var needsToken = false
    /// Whether it speaks TLS, and nothing else.
    package var speaksTLS = false
    /// Whether the operator has said that others may reach it although what goes over it can be read on the way.
    package var allowsPlaintext = false

    package init(_ place: Place) { self.place = place }
}

/// What the listeners that speak TLS speak it with. Files are named by their paths, and read when the server starts and at each reload.
package struct TLSOptions: Hashable, Sendable {
    /// PEM: the certificate, and those that lead from it to one that clients trust.
    package var certificate: String
    /// PEM: the certificate's private key.
    package var key: String
    /// PEM: those who sign clients' certificates; `nil` = clients are not asked for one.
    package var clientCA: String?
    /// What a client with such a certificate may do.
    package var clientGrant = Grant(role: .read)

    package init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

/// Where the server listens in fact, and what it asks there: for the log, and for `GET /v1/listeners`.
package struct ListenerFacts: Hashable, Sendable {
    /// As `Listener.place` has it, with the port that was taken where any would do.
    package var place: Listener.Place
    package var tls: Bool
    /// Whether a call needs a token.
    package var tokens: Bool
    package var plaintext: Bool
    /// Whether clients may show a certificate in the place of a token.
    package var clientCertificates = false
    /// When the certificate that is shown to clients expires, in milliseconds since 1970; `nil` where none is shown.
    package var certificateExpiresAt: Int64?
    /// Whether the socket was handed over by whoever started the service.
    package var isInherited = false

    package init(_ listener: Listener) {
        place = listener.place
        tls = listener.speaksTLS
        tokens = listener.needsToken
        plaintext = listener.allowsPlaintext
    }
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
    /// Open connections of one peer (`PeerAddress.network`); 0 = as many as there may be at all. Those on this machine are not counted.
    package var connectionsPerPeer = 1000
    /// Requests a second with one token, over all connections; 0 = as many as come.
    package var requestsPerToken = 0
    /// Requests a minute of one peer whose tokens are worth nothing, that are answered at once; further ones are answered a second later.
    /// 0 = all are.
    package var failedTokens = 10
    /// The least bytes a second of a body that is being received, once `bodyTimeout` has gone by; 0 = any.
    package var bodyRate = 1 << 10
    /// The least bytes a second that a client takes of its answers, once `idleTimeout` has gone by; 0 = any.
    package var answerRate = 1 << 10
    /// TLS handshakes under way, of all connections together.
    package var handshakes = 256
    /// The longest time from a connection's begin to the end of its TLS handshake.
    package var handshakeTimeout = Duration.seconds(10)

    package init() {}
}

/// The timeouts and least rates of `HTTPLimits`, in the unit that deadlines are counted in, and in bytes a second.
struct Patience {
    let head: TimeAmount
    let body: TimeAmount
    let idle: TimeAmount
    let bodyRate: Int
    let answerRate: Int

    init(_ limits: HTTPLimits) {
        head = TimeAmount(limits.headTimeout)
        body = TimeAmount(limits.bodyTimeout)
        idle = TimeAmount(limits.idleTimeout)
        bodyRate = limits.bodyRate
        answerRate = limits.answerRate
    }

    /// The fewest bytes that a rate asks for within a time.
    static func least(_ rate: Int, from start: NIODeadline, to end: NIODeadline) -> Int {
        Int(Double(rate) * Double((end - start).nanoseconds) / 1e9)
    }
}
