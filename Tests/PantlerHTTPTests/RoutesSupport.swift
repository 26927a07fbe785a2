internal import NIOHTTP1
import PantlerModel

@testable import PantlerHTTP

/// The code of the problem that `body` throws; `nil` where it throws none.
func code(_ body: () throws -> Void) -> Problem.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? Problem)?.code
    }
}

/// Judges a head as the router does.
@discardableResult
func judge(
    _ method: Method,
    _ target: String,
    _ headers: HTTPHeaders = [:],
    by caller: Caller = .anybody
) throws -> Call {
    let request = Request(method: method, target: Array(target.utf8), headers: headers)
    return try request.target.withBytes { bytes throws(Problem) in
        try Call(method, bytes, path: request.path, query: request.query, headers, by: caller)
    }
}

extension String {
    /// Shows the string's UTF-8.
    func withBytes<Answer>(_ body: (UnsafeRawBufferPointer) throws(Problem) -> Answer) throws(Problem) -> Answer {
        try Array(utf8).withBytes(body)
    }
}
