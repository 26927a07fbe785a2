internal import CZlib
internal import Glibc

/// One request of a trace.
struct TracedRequest: Hashable, Sendable {
    var key: UInt32
    /// Bytes of the value that is put.
    var size: UInt32
    var isSet: Bool
    /// Seconds; 0 = none.
    var ttl: UInt32
}

/// Requests in the order they came, held in 13 bytes each.
struct Trace: Sendable {
    /// The size that is taken where a trace has none.
    static let unknownSize: UInt32 = 256

    private var keys: [UInt32] = []
    private var sizes: [UInt32] = []
    /// Empty where the trace has gets without TTLs alone, as recorded ones do; else op in the lowest bit, TTL above it.
    private var extras: [UInt32] = []
    private(set) var distinctKeys = 0
    private(set) var largestSize = 0

    var count: Int { keys.count }

    subscript(_ index: Int) -> TracedRequest {
        let extra = extras.isEmpty ? 0 : extras[index]
        return TracedRequest(key: keys[index], size: sizes[index], isSet: extra & 1 == 1, ttl: extra >> 1)
    }

    /// Reads a file, plain or gzipped.
    ///
    /// - Parameter limit: the most requests to take.
    /// - Throws: a failure that names the line.
    init(path: String, limit: Int? = nil) throws(CommandFailure) {
        // gzread passes a file through that is not gzipped.
        guard let file = gzopen(path, "rb") else { throw .unreadable(path, errno) }
        defer { gzclose(file) }
        var parser = TraceParser(path: path, limit: limit ?? .max)
        var chunk = [UInt8](repeating: 0, count: 1 << 18)
        while !parser.isFull {
            let count = gzread(file, &chunk, UInt32(chunk.count))
            guard count >= 0 else { throw Self.damaged(path, file) }
            guard count > 0 else { break }
            try parser.read(chunk[..<Int(count)])
        }
        // A file that was cut short reads to its end without an error.
        var code: Int32 = Z_OK
        _ = gzerror(file, &code)
        guard parser.isFull || code == Z_OK || code == Z_STREAM_END else { throw Self.damaged(path, file) }
        try parser.finish()
        self = try Trace(parser.requests, path: path)
    }

    /// - Throws: a failure if there are none.
    init(_ requests: [TracedRequest], path: String) throws(CommandFailure) {
        guard !requests.isEmpty else { throw .usage("\(path) holds no requests: its lines are to be key,size.") }
        keys = requests.map(\.key)
        sizes = requests.map(\.size)
        if requests.contains(where: { $0.isSet || $0.ttl > 0 }) {
            extras = requests.map { $0.ttl << 1 | ($0.isSet ? 1 : 0) }
        }
        distinctKeys = Set(keys).count
        largestSize = Int(sizes.max() ?? 0)
    }

    private static func damaged(_ path: String, _ file: gzFile) -> CommandFailure {
        var code: Int32 = 0
        let text = gzerror(file, &code).map { String(cString: $0) } ?? ""
        let reason = text.isEmpty ? "zlib's error \(code)" : text
        return CommandFailure(.failed, code: "input_failed", "\(path) cannot be read: \(reason).")
    }
}

/// Parses a trace's lines, chunk by chunk.
struct TraceParser {
    private(set) var requests: [TracedRequest] = []
    private let path: String
    private let limit: Int
    private var line: [UInt8] = []
    private var lineNumber = 0

    init(path: String, limit: Int = .max) {
        self.path = path
        self.limit = limit
    }

    var isFull: Bool { requests.count >= limit }

    mutating func read(_ chunk: ArraySlice<UInt8>) throws(CommandFailure) {
        for byte in chunk {
            if byte == UInt8(ascii: "\n") {
                try endLine()
                if isFull { return }
            } else {
                line.append(byte)
            }
        }
    }

    /// A last line may end without a line break.
    mutating func finish() throws(CommandFailure) {
        if !isFull, !line.isEmpty { try endLine() }
    }

    private mutating func endLine() throws(CommandFailure) {
        lineNumber += 1
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        defer { line.removeAll(keepingCapacity: true) }
        if line.isEmpty { return }
        guard let request = Self.request(line) else {
            let shown = String(decoding: line.prefix(80), as: UTF8.self)
            throw .usage(
                "\(path):\(lineNumber): '\(shown)' is no request; allowed is key,size or key,size,op,ttl with op g or s."
            )
        }
        requests.append(request)
    }

    private static func request(_ line: [UInt8]) -> TracedRequest? {
        var rest = line[...]
        guard let key = number(&rest), comma(&rest), let size = number(&rest) else { return nil }
        var request = TracedRequest(key: key, size: size == 1 ? Trace.unknownSize : size, isSet: false, ttl: 0)
        if rest.isEmpty { return request }
        guard comma(&rest), let op = rest.popFirst(), op == UInt8(ascii: "g") || op == UInt8(ascii: "s") else {
            return nil
        }
        request.isSet = op == UInt8(ascii: "s")
        guard comma(&rest), let ttl = number(&rest), ttl < 1 << 31, rest.isEmpty else { return nil }
        request.ttl = ttl
        return request
    }

    private static func number(_ rest: inout ArraySlice<UInt8>) -> UInt32? {
        var value: UInt64 = 0
        let start = rest.startIndex
        while let byte = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte),
            rest.startIndex - start < 11
        {
            value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
            rest.removeFirst()
        }
        return rest.startIndex == start ? nil : UInt32(exactly: value)
    }

    private static func comma(_ rest: inout ArraySlice<UInt8>) -> Bool {
        guard rest.first == UInt8(ascii: ",") else { return false }
        rest.removeFirst()
        return true
    }
}
