internal import AsyncHTTPClient
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL
internal import PantlerModel

/// An answer of the service, whole.
struct Reply: Sendable {
    let status: Int
    let contentType: String?
    let body: [UInt8]
    /// What it says of the cache (RFC 9211).
    var cacheStatus: String?
    /// When it was made, by the service's clock.
    var date: WallTime?
}

/// Calls a running service. For single calls; `bench` has a leaner way (`LeanConnection`).
struct Client: Sendable {
    /// Where the service answers, for people. Without a slash at its end.
    let url: String
    private let address: ServiceAddress
    /// What is sent of who calls; for those who send it another way. Shown nowhere.
    let token: String?
    /// How long an answer may take.
    let timeoutMilliseconds: Int64
    private let http: HTTPClient

    enum Verb: String {
        case get = "GET"
        case head = "HEAD"
        case put = "PUT"
        case post = "POST"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    /// The largest answer that is taken.
    private static let maxReplyBytes = 1 << 30

    /// - Parameter caFile: PEM: whose certificates are trusted, in the place of the system's; `nil` = the system's.
    /// - Throws: a usage failure if the address is none, or the file cannot be used.
    init(url: String, caFile: String? = nil, token: String?, timeoutMilliseconds: Int64) throws(CommandFailure) {
        address = try ServiceAddress(url)
        self.url = address.url
        self.token = token
        self.timeoutMilliseconds = timeoutMilliseconds
        var configuration = HTTPClient.Configuration()
        configuration.httpVersion = .http1Only
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = .milliseconds(min(timeoutMilliseconds, 5000))
        // A service that is not there is said at once.
        configuration.connectionPool.retryConnectionEstablishment = false
        if address.isSecure, let caFile { configuration.tlsConfiguration = try Self.trust(caFile) }
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    private static func trust(_ file: String) throws(CommandFailure) -> TLSConfiguration {
        let certificates: [NIOSSLCertificate]
        do {
            certificates = try NIOSSLCertificate.fromPEMBytes(try Terminal.read(file: file))
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw .usage("\(file) is no certificate in PEM, which --ca-file and PANTLER_CA_FILE name.")
        }
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates(certificates)
        return configuration
    }

    func close() async {
        try? await http.shutdown()
    }

    /// One call. An error status is an answer like any other.
    ///
    /// - Parameters:
    ///   - path: below the service's address, encoded.
    ///   - milliseconds: how long the answer may take, where it is not `timeoutMilliseconds`.
    func send(
        _ verb: Verb,
        _ path: String,
        headers: [(String, String)] = [],
        json: [UInt8]? = nil,
        within milliseconds: Int64? = nil
    ) async throws(CommandFailure) -> Reply {
        var request = HTTPClientRequest(url: address.requestURL + path)
        request.method = HTTPMethod(rawValue: verb.rawValue)
        request.headers = HTTPHeaders(headers)
        if address.socket != nil { request.headers.add(name: "Host", value: address.authority) }
        request.headers.add(name: "User-Agent", value: "pantler/\(Build.version)")
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let json {
            if !request.headers.contains(name: "Content-Type") {
                request.headers.add(name: "Content-Type", value: "application/json")
            }
            request.body = .bytes(ByteBuffer(bytes: json))
        }
        let timeoutMilliseconds = milliseconds ?? timeoutMilliseconds
        do {
            return try await reply(to: request, timeoutMilliseconds)
        } catch {
            let failure = failure(error, timeoutMilliseconds)
            if failure.status == .unreachable, let json, let refusal = await refusal(of: request, json.count) {
                return refusal
            }
            throw failure
        }
    }

    private func reply(to request: HTTPClientRequest, _ timeoutMilliseconds: Int64) async throws -> Reply {
        let response = try await http.execute(request, timeout: .milliseconds(timeoutMilliseconds))
        var body = try await response.body.collect(upTo: Self.maxReplyBytes)
        return Reply(
            status: Int(response.status.code),
            contentType: response.headers.first(name: "Content-Type"),
            body: body.readBytes(length: body.readableBytes) ?? [],
            cacheStatus: response.headers.first(name: "Cache-Status"),
            date: response.headers.first(name: "Date").flatMap { WallTime(httpDate: $0) }
        )
    }

    /// How long a service may take to refuse a body that it is not sent.
    private static let refusalMilliseconds: Int64 = 2000

    /// A service that refuses a body closes the connection while that is still being sent, and its answer may be lost on the way. So the
    /// service is asked once more with the head alone (RFC 9110, section 10.1.1), which changes nothing.
    private func refusal(of request: HTTPClientRequest, _ count: Int) async -> Reply? {
        var request = request
        request.headers.add(name: "Expect", value: "100-continue")
        let withheld = AsyncStream<ByteBuffer> { _ in }
        request.body = .stream(withheld, length: .known(Int64(count)))
        guard let reply = try? await reply(to: request, Self.refusalMilliseconds) else { return nil }
        return reply.status >= 400 ? reply : nil
    }

    /// The same, where only success is an answer.
    func expect(
        _ verb: Verb,
        _ path: String,
        headers: [(String, String)] = [],
        json: [UInt8]? = nil
    ) async throws(CommandFailure) -> Reply {
        try Self.success(try await send(verb, path, headers: headers, json: json))
    }

    /// The same with a merge patch (RFC 7396).
    func expect(_ verb: Verb, _ path: String, mergePatch: [UInt8]) async throws(CommandFailure) -> Reply {
        let headers = [("Content-Type", "application/merge-patch+json")]
        return try Self.success(try await send(verb, path, headers: headers, json: mergePatch))
    }

    private static func success(_ reply: Reply) throws(CommandFailure) -> Reply {
        guard (200..<300).contains(reply.status) else { throw CommandFailure(reply) }
        return reply
    }

    private func failure(_ error: any Error, _ timeoutMilliseconds: Int64) -> CommandFailure {
        if let error = error as? HTTPClientError {
            switch error {
            case .deadlineExceeded, .readTimeout, .writeTimeout:
                return CommandFailure(
                    .unreachable,
                    code: "unreachable",
                    "\(url) did not answer within \(Quantity.text(milliseconds: timeoutMilliseconds)): `pantler check` tells how it is; --timeout waits longer."
                )
            case .connectTimeout, .remoteConnectionClosed, .uncleanShutdown, .cancelled:
                return .nobodyAnswers(at: url)
            default:
                return CommandFailure(.failed, code: "failed", "The call to \(url) failed: \(error.shortDescription).")
            }
        }
        if error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError {
            return CommandFailure(
                .unreachable,
                code: "tls_failed",
                "No TLS with \(url): \(error). If its certificate is of a CA of your own, --ca-file or PANTLER_CA_FILE names that one's."
            )
        }
        if let error = error as? IOError, error.errnoCode == EACCES, let socket = address.socket {
            return CommandFailure(
                .unreachable,
                code: "unreachable",
                "This user may not open \(socket): server.socket_mode and server.socket_group say who may."
            )
        }
        if error is NIOTooManyBytesError {
            return CommandFailure(.failed, code: "answer_too_large", "The answer has over \(Self.maxReplyBytes) bytes.")
        }
        return .nobodyAnswers(at: url)
    }
}
