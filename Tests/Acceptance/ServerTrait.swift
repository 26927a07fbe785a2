import Foundation
import Support
import Testing

/// Gives a suite a service of its own, and holds it to a clean stop when the suite is over.
struct ServerTrait: SuiteTrait, TestScoping {
    @TaskLocal static var current: ServerProcess?

    let configuration: String

    func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @Sendable () async throws -> Void
    ) async throws {
        let server = try ServerProcess(.init(configuration: configuration))
        try await Self.$current.withValue(server) { try await function() }
        let ending = try server.terminate()
        if ending != .exited(0) { Issue.record("the service stopped with \(ending)\n\(server.log.suffix(4000))") }
    }

    /// The service of the suite that asks.
    static var server: ServerProcess {
        get throws {
            guard let current else { throw Failure("this suite has no .server") }
            return current
        }
    }
}

extension Trait where Self == ServerTrait {
    /// - Parameter configuration: YAML; what it leaves out keeps its default.
    static func server(_ configuration: String = "") -> Self {
        ServerTrait(configuration: configuration)
    }
}

/// Suites that load the machine, kill processes or mount file systems: one after the other, so that none disturbs another's measurements.
@Suite("Under load and in trouble", .serialized)
enum Heavy {}

private let namespaces = Shared(0)

extension HTTPClient {
    /// The path of a namespace that no other test uses. With a policy, a JSON text, it is made at once; without one, by its first write.
    func namespace(_ policy: String? = nil, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let number = namespaces.update { number in
            number += 1
            return number
        }
        let path = "/v1/namespaces/test-\(number)"
        if let policy { expect(try put(path, policy), 201, sourceLocation: sourceLocation) }
        return path
    }

    /// Puts a value and returns its version.
    @discardableResult
    func store(
        _ path: String,
        _ key: String,
        _ value: String = "1",
        _ rest: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Int {
        let response = try put("\(path)/entries/\(key)", #"{"value":\#(value)\#(rest.isEmpty ? "" : ",")\#(rest)}"#)
        #expect((200...201).contains(response.status), "\(response)", sourceLocation: sourceLocation)
        return response.version ?? 0
    }
}

/// Expects a status, and for an error a problem document with its stable code.
@discardableResult
func expect(
    _ response: Response,
    _ status: Int,
    _ code: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) -> Response {
    #expect(response.status == status, "\(response)", sourceLocation: sourceLocation)
    if status >= 400, response.status == status, !response.body.isEmpty {
        #expect(response["Content-Type"] == "application/problem+json", "\(response)", sourceLocation: sourceLocation)
        #expect(response["Cache-Control"] == "no-store", "\(response)", sourceLocation: sourceLocation)
        #expect(response.json["status"].int == status, "\(response)", sourceLocation: sourceLocation)
        #expect(response.json["type"].string == "about:blank", "\(response)", sourceLocation: sourceLocation)
        #expect(response.json["detail"].string?.isEmpty == false, "\(response)", sourceLocation: sourceLocation)
    }
    if let code { #expect(response.code == code, "\(response)", sourceLocation: sourceLocation) }
    return response
}
