internal import NIOCore
import PantlerInsight
import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("Problems as answers")
struct ProblemResponseTests {
    private func body(_ response: Response) -> String {
        String(decoding: (response.body ?? ByteBuffer()).readableBytesView, as: UTF8.self)
    }

    @Test("are problem documents that nobody keeps")
    func document() {
        let response = Response(problem: Problem(.keyTooLong, "The key is \"long\"."), operation: .get)
        #expect(response.status == 400)
        #expect(response.contentType == "application/problem+json")
        #expect(response.headers.map(\.0) == ["Cache-Control"])
        #expect(response.headers.map(\.1) == ["no-store"])
        #expect(
            body(response)
                == #"{"type":"about:blank","title":"Bad Request","status":400,"code":"key_too_long","detail":"The key is \"long\"."}"#
        )
    }

    @Test("tell what their code adds")
    func extras() {
        let found = Response(problem: .versionMismatch(found: 7), operation: .put)
        #expect(body(found).hasSuffix(#","version":7}"#))
        #expect(body(Response(problem: .versionMismatch(found: nil), operation: .put)).hasSuffix(#","version":null}"#))
        #expect(body(Response(problem: .notFound(.evicted), operation: .get)).hasSuffix(#","reason":"evicted"}"#))
        let method = Response(problem: Problem(.methodNotAllowed, "No.", extra: .allow("GET, HEAD")), operation: .other)
        #expect(method.headers.contains { $0.0 == "Allow" && $0.1 == "GET, HEAD" })
    }

    @Test("have their status in words, each code of them", arguments: Problem.Code.allCases)
    func titles(code: Problem.Code) {
        let title = Response.title(code.status)
        #expect((title == "Internal Server Error") == (code == .internalError))
    }
}
