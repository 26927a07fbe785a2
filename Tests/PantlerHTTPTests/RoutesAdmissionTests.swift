internal import NIOHTTP1
import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("Admission")
struct AdmissionTests {
    private let store = Store(StoreOptions(), clock: ManualClock(), lower: nil, state: PersistedState())

    private func admit(
        _ method: PantlerHTTP.Method,
        _ target: String,
        _ headers: HTTPHeaders = [:],
        maxBody: Int = .max
    ) -> (code: Problem.Code, operation: PantlerInsight.Operation)? {
        var options = RouterOptions()
        options.maxBody = maxBody
        switch Router(store, options).admit(method, Array(target.utf8), headers, by: .anybody) {
        case .accepted(_, let room):
            #expect(room == maxBody)
            return nil
        case .refused(let problem, let operation): return (problem.code, operation)
        }
    }

    @Test("refuses a head with its problem, and counts it as what was asked for")
    func refusals() throws {
        #expect(admit(.get, "/v1/namespaces/shop/entries/a") == nil)
        #expect(admit(.options, "*") == nil)
        let key = try #require(admit(.get, "/v1/namespaces/shop/entries/"))
        #expect(key == (.keyRequired, .get))
        #expect(try #require(admit(.patch, "/v1/namespaces/shop/entries/a")) == (.unsupportedMediaType, .patch))
        #expect(try #require(admit(.post, "/v1/namespaces/shop/batch/get?x")) == (.queryInvalid, .batchGet))
        #expect(try #require(admit(.get, "/nothing")) == (.routeNotFound, .other))
        #expect(try #require(admit(.options, "/nothing")) == (.routeNotFound, .other))
    }

    @Test("refuses a body that says that it is too long")
    func lengths() throws {
        let put = "/v1/namespaces/shop/entries/a"
        func headers(_ length: Int) -> HTTPHeaders {
            ["Content-Type": "application/json", "Content-Length": "\(length)"]
        }
        #expect(admit(.put, put, headers(100), maxBody: 100) == nil)
        #expect(try #require(admit(.put, put, headers(101), maxBody: 100)) == (.bodyTooLarge, .put))
    }
}
