internal import Logging
import NIOCore
internal import NIOHTTP1
import PantlerInsight
import PantlerModel
internal import PantlerSockets

/// Which requests have a line in the access log.
package enum AccessLog: String, Hashable, Sendable, CaseIterable {
    case off
    /// Those whose answer tells of an error. A miss is none, and neither is a condition that does not hold.
    case errors
    /// Those, and the ones that took longer than `AccessOptions.slow`.
    case slow
    case all
}

/// What the access log is told to be. It has no level: what is logged besides is another matter.
package struct AccessOptions: Hashable, Sendable {
    package var log = AccessLog.off
    /// From the request's first byte to its answer.
    package var slow = Duration.milliseconds(100)
    /// Whether refusals and changes of who may do what have a line each in the audit log.
    package var audits = true

    package init() {}

    /// Whether a request has a line.
    func takes(_ operation: Operation, _ status: Int, nanoseconds: Int64) -> Bool {
        // That something asked for is not there is no error; that there is no such route is one.
        let isError = status >= 400 && status != 412 && (status != 404 || operation == .other)
        return switch log {
        case .off: false
        case .all: true
        case .errors: isError
        case .slow: isError || .nanoseconds(nanoseconds) >= slow
        }
    }
}

/// What the access log says of a request, taken from its bytes while they are there.
struct LoggedRequest: Sendable {
    let method: Method
    let target: String
    /// The id of its caller's token, or `certificate`; `nil` where neither was asked for, or was good.
    let token: String?
    /// The trace that the request is a part of (W3C Trace Context, `traceparent`); `nil` where none is named.
    let trace: String?
    /// What its client has named it by, where its answer says that too.
    let requestID: String?

    init(_ head: RequestHead, by caller: Caller?) {
        if case .anybody? = caller { token = nil } else { token = caller?.name }
        method = head.method
        target = String(decoding: head.target, as: UTF8.self)
        trace = head.headers["traceparent"].first.flatMap { Self.trace(Array($0.utf8)[...]) }
        requestID = head.requestID.text
    }

    /// - Parameter rest: what follows the target in the request's bytes.
    init(
        _ method: Method,
        _ target: UnsafeRawBufferPointer,
        rest: UnsafeRawBufferPointer,
        _ requestID: RequestID,
        token: String?
    ) {
        self.token = token
        self.requestID = requestID.text
        self.method = method
        self.target = String(decoding: target, as: UTF8.self)
        trace = Self.field("traceparent", in: rest).flatMap { Self.trace($0) }
    }

    /// The second of four parts of `version-trace-parent-flags`.
    private static func trace(_ value: ArraySlice<UInt8>) -> String? {
        let parts = value.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].count == 2, parts[0].allSatisfy(isHex), parts[1].count == 32,
            parts[1].allSatisfy(isHex), parts[1].contains(where: { $0 != UInt8(ascii: "0") })
        else { return nil }
        return String(decoding: parts[1], as: UTF8.self)
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }

    /// The value of a field of a head, without the space around it. Complexity: O(length of the head).
    static func field(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> ArraySlice<UInt8>? {
        name.withUTF8Buffer { name in
            var start = 0
            while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = bytes[start..<end]
                // The empty line that ends the head.
                if start > 0, line.count <= 1 { return nil }
                start = end + 1
                guard line.count > name.count, line[line.startIndex + name.count] == UInt8(ascii: ":"),
                    zip(line, name).allSatisfy({ $0 | 0x20 == $1 | 0x20 })
                else { continue }
                return Array(line[(line.startIndex + name.count + 1)...])[...].trimmed
            }
            return nil
        }
    }
}

extension ArraySlice<UInt8> {
    fileprivate var trimmed: ArraySlice<UInt8> {
        var slice = drop { $0 <= 0x20 }
        while let last = slice.last, last <= 0x20 { slice.removeLast() }
        return slice
    }
}

/// What the access log says of an answer. It is read from the answer's own head, so that an answer that nobody logs costs nothing.
struct LoggedAnswer: Sendable {
    /// Of the body.
    var bytes = 0
    /// `hit` or `miss`; `nil` where the cache was not asked.
    var cache: String?
    /// Why it is a miss, or `stale`, or `absent` for a negative entry.
    var reason: String?
    /// Where a fresh entry was found.
    var tier: String?

    init() {}

    /// - Parameter start: where the answer begins in the bytes.
    init(_ bytes: ByteBuffer, from start: Int) {
        let count = bytes.writerIndex - start
        guard count > 0, let answer = bytes.getSlice(at: start, length: count) else { return }
        answer.withUnsafeReadableBytes { answer in
            if let length = LoggedRequest.field("content-length", in: answer) {
                self.bytes = Int(String(decoding: length, as: UTF8.self)) ?? 0
            }
            if let status = LoggedRequest.field("cache-status", in: answer) {
                note(cacheStatus: String(decoding: status, as: UTF8.self))
            }
        }
    }

    /// Of RFC 9211: `pantler; hit; ttl=41`, `pantler; fwd=miss; detail=expired`.
    private mutating func note(cacheStatus: String) {
        for part in cacheStatus.split(separator: ";").map({ $0.drop { $0 == " " } }) {
            if part == "hit" { cache = "hit" }
            if part.hasPrefix("fwd=") { cache = "miss" }
            if part.hasPrefix("detail=") { reason = String(part.dropFirst("detail=".count)) }
        }
        if cache == "hit", let detail = reason, Tier(rawValue: detail) != nil { (tier, reason) = (reason, nil) }
    }
}

extension Connection {
    /// What the log will say of a plain request. `nil` where requests are not logged.
    func logged(_ method: Method, _ request: FastLane.FastRequest) -> LoggedRequest? {
        guard isLogged else { return nil }
        // A method that the lane takes has three letters and a space behind it.
        let rest = request.length - 4 - request.target.count
        let end = request.target.baseAddress.map { $0 + request.target.count }
        return LoggedRequest(
            method,
            request.target,
            rest: UnsafeRawBufferPointer(start: end, count: rest),
            RequestID(request.requestID),
            token: callerName(request)
        )
    }

    /// Writes a line about a request whose client has left before it was answered, with the status that nginx has for that.
    func logLeft(_ request: LoggedRequest, since began: NIODeadline) {
        loggedAnswer = LoggedAnswer()
        log(.other, request, 499, since: began)
    }

    /// Writes a line about a request that was answered just now, if it is to have one.
    ///
    /// - Parameter request: `nil` where it could not be read.
    func log(_ operation: Operation, _ request: LoggedRequest?, _ status: Int, since began: NIODeadline) {
        let answer = loggedAnswer
        let nanoseconds = max(0, (loop.eventLoop.now - began).nanoseconds)
        guard loop.access.takes(operation, status, nanoseconds: nanoseconds) else { return }
        var line: Logger.Metadata = [
            "route": "\(operation.name)",
            "status": .stringConvertible(status),
            "us": .stringConvertible(nanoseconds / 1000),
            "bytes": .stringConvertible(request?.method == .head ? 0 : answer.bytes),
        ]
        if let request {
            line["method"] = "\("\(request.method)".uppercased())"
            line["target"] = "\(request.target)"
        }
        if let token = request?.token { line["token"] = "\(token)" }
        if let cache = answer.cache { line["cache"] = "\(cache)" }
        if let reason = answer.reason { line["reason"] = "\(reason)" }
        if let tier = answer.tier { line["tier"] = "\(tier)" }
        if let trace = request?.trace { line["trace"] = "\(trace)" }
        if let id = request?.requestID { line["request_id"] = "\(id)" }
        line["peer"] = "\(peer)"
        loop.accessLogger.info("request", metadata: line)
    }
}
