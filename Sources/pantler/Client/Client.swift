internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1

/// An answer of the service, whole.
struct Reply: Sendable {
    let status: Int
    let contentType: String?
    let body: [UInt8]
    /// What it says of the cache (RFC 9211).
    var cacheStatus: String?
}

/// Calls a running service. For single calls; `bench` has a leaner way (`LeanConnection`).
struct Client: Sendable {
    /// Without a slash at its end.
    let url: String
    private let token: String?
    private let timeoutMilliseconds: Int64
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

    /// - Throws: a usage failure if the address is none.
    init(url: String, token: String?, timeoutMilliseconds: Int64) throws(CommandFailure) {
        self.url = try ServiceAddress(url).url
        self.token = token
        self.timeoutMilliseconds = timeoutMilliseconds
        var configuration = HTTPClient.Configuration()
        configuration.httpVersion = .http1Only
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = .milliseconds(min(timeoutMilliseconds, 5000))
        // A service that is not there is said at once.
        configuration.connectionPool.retryConnectionEstablishment = false
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    func close() async {
        try? await http.shutdown()
    }

    /// One call. An error status is an answer like any other.
    ///
    /// - Parameter path: below the service's address, encoded.
    func send(
        _ verb: Verb,
        _ path: String,
        headers: [(String, String)] = [],
        json: [UInt8]? = nil
    ) async throws(CommandFailure) -> Reply {
        var request = HTTPClientRequest(url: url + path)
        request.method = HTTPMethod(rawValue: verb.rawValue)
        request.headers = HTTPHeaders(headers)
        request.headers.add(name: "User-Agent", value: "pantler/\(Build.version)")
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let json {
            if !request.headers.contains(name: "Content-Type") {
                request.headers.add(name: "Content-Type", value: "application/json")
            }
            request.body = .bytes(ByteBuffer(bytes: json))
        }
        do {
            let response = try await http.execute(request, timeout: .milliseconds(timeoutMilliseconds))
            var body = try await response.body.collect(upTo: Self.maxReplyBytes)
            return Reply(
                status: Int(response.status.code),
                contentType: response.headers.first(name: "Content-Type"),
                body: body.readBytes(length: body.readableBytes) ?? [],
                cacheStatus: response.headers.first(name: "Cache-Status")
            )
        } catch {
            throw failure(error)
        }
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

    private func failure(_ error: any Error) -> CommandFailure {
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
        if error is NIOTooManyBytesError {
            return CommandFailure(.failed, code: "answer_too_large", "The answer has over \(Self.maxReplyBytes) bytes.")
        }
        return .nobodyAnswers(at: url)
    }
}
