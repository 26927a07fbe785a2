internal import NIOHTTP1
import PantlerModel
import PantlerStore

@testable import PantlerHTTP

/// Holds the fast lane and SwiftNIO's decoder against each other over one input. Of one thread.
struct LaneAgreement {
    struct Disagreement: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
    }

    private let bench: DecoderBench
    private let hosts = ServedHosts([], address: "127.0.0.1")
    private let bounds = FastLane.Bounds(head: 16 << 10, body: 1 << 20, awaitedBody: 16 << 10)

    init() throws { bench = try DecoderBench() }

    /// - Returns: the method of the request that the lane took at the front of the bytes; `nil` where it took none.
    /// - Throws: `Disagreement` where the decoder sees another request there, and the decoder's error where it sees none.
    func check(_ bytes: [UInt8]) throws -> Method? {
        guard let request = try bytes.withUnsafeBytes({ try taken($0) }) else { return nil }
        switch request.method {
        case .get: try checkGet(request, bytes)
        default: try checkPut(request, bytes)
        }
        return request.method
    }

    /// A request as the lane takes it.
    private struct Taken {
        let method: Method
        let length: Int
        let target: String
        let namespace: String
        let key: [UInt8]
        let authorization: String?
        let requestID: String?
        let closes: Bool
        let body: [UInt8]

        init(_ method: Method, _ request: FastLane.FastRequest, body: [UInt8] = []) {
            self.method = method
            length = request.length
            target = String(decoding: request.target, as: UTF8.self)
            namespace = String(decoding: request.namespace, as: UTF8.self)
            key = Array(request.key)
            let value = request.authorization
            authorization = value.isEmpty ? nil : String(decoding: value, as: UTF8.self)
            requestID = RequestID(request.requestID).text
            closes = request.closes
            self.body = body
        }
    }

    private func taken(_ bytes: UnsafeRawBufferPointer) throws -> Taken? {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.keyBytes, alignment: 1)
        defer { scratch.deallocate() }
        switch FastLane.parse(bytes, hosts, bounds, scratch: scratch) {
        case .other: return nil
        case .awaitsBody:
            guard MessageBoundary.endOfFields(bytes) != nil else {
                throw Disagreement("awaits a body before its head is whole")
            }
            return nil
        case .get(let request): return Taken(.get, request)
        case .put(let request, let body): return Taken(.put, request, body: Array(body))
        case .lease(let request, let body): return Taken(.post, request, body: Array(body))
        case .incomplete:
            // Else the connection would wait for a head that is there.
            guard MessageBoundary.endOfFields(bytes) == nil else { throw Disagreement("awaits a whole head") }
            return nil
        }
    }

    private func checkGet(_ request: Taken, _ bytes: [UInt8]) throws {
        let length = request.length
        guard bytes.withUnsafeBytes({ MessageBoundary.endOfFields($0) }) == length else {
            throw Disagreement("ends elsewhere")
        }
        let head = try bench.head(bytes[..<length], hosts, HTTPLimits())
        guard bench.hasEnded, !bench.seesHead(bytes[..<(length - 1)]) else {
            throw Disagreement("ends elsewhere for the decoder")
        }
        try check(request, head)
    }

    private func checkPut(_ request: Taken, _ bytes: [UInt8]) throws {
        guard let message = try bench.message(bytes, hosts) else { throw Disagreement("is not whole for the decoder") }
        guard message.length == request.length else { throw Disagreement("ends elsewhere for the decoder") }
        guard message.body == request.body else { throw Disagreement("has another body for the decoder") }
        try check(request, message.head)
    }

    private func check(_ request: Taken, _ head: RequestHead) throws {
        guard
            head.method == request.method, head.target == Array(request.target.utf8),
            head.length == request.body.count, head.isKeptAlive != request.closes, !head.isHTTP10 || request.closes,
            !head.expectsContinue, !head.isCrossSite, head.requestID.text == request.requestID,
            head.headers["authorization"].map({ String(trimmed($0)) }) == [request.authorization].compactMap(\.self),
            !head.isUpgrade || head.headers["upgrade"].map({ trimmed($0).asciiLowercased }) == ["h2c"]
        else { throw Disagreement("is another request: \(head)") }
        let call = try judge(request.method, request.target, head.headers)
        let isPlain =
            switch call.resource {
            case .entry: request.method != .post
            case .value: request.method == .get
            case .lease: request.method == .post
            default: false
            }
        guard isPlain, call.condition == .none, call.key == request.key, call.namespace == request.namespace else {
            throw Disagreement("is another call: \(call)")
        }
    }
}
