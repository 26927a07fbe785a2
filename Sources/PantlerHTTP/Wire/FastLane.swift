import Glibc
import PantlerModel

/// The plain GET of an entry or a value, read in the bytes themselves: no string, no allocation, one pass.
///
/// It takes what it understands to the last byte, and decides nothing else: whatever is not such a request, or says anything that
/// might matter, is left to SwiftNIO's decoder from its first byte on. So the two can only differ about a request that the
/// lane takes, and a test holds them against each other over mutated requests.
enum FastLane {
    struct FastRequest {
        /// Bytes of the whole request.
        let length: Int
        let aspect: EntryAspect
        /// In form (`NamespaceName.isValid`).
        let namespace: UnsafeRawBufferPointer
        /// 1 to 1,024 bytes of ASCII, none of which needs decoding.
        let key: UnsafeRawBufferPointer
    }

    enum Verdict {
        case request(FastRequest)
        /// All that has come so far could be such a request.
        case incomplete
        case other
    }

    /// Reads the request at the front of `bytes`, which are not empty.
    ///
    /// - Parameter headLimit: longest head, in bytes; a longer one is left, also where it is not whole yet.
    /// - Complexity: O(length of the head).
    static func parse(_ bytes: UnsafeRawBufferPointer, _ hosts: ServedHosts, headLimit: Int) -> Verdict {
        var reader = LaneReader(bytes)
        guard reader.pass("GET /v1/namespaces/") else { return reader.verdict }
        guard let namespace = reader.namespace() else { return reader.verdict }
        let aspect: EntryAspect
        if reader.next == UInt8(ascii: "e") {
            guard reader.pass("entries/") else { return reader.verdict }
            aspect = .entry
        } else {
            guard reader.pass("values/") else { return reader.verdict }
            aspect = .value
        }
        guard let key = reader.key(), reader.pass(" HTTP/1.1\r\n") else { return reader.verdict }
        guard reader.fields(hosts, aspect), reader.offset <= headLimit else {
            return reader.offset > headLimit ? .other : reader.verdict
        }
        return .request(FastRequest(length: reader.offset, aspect: aspect, namespace: namespace, key: key))
    }
}

/// Reads a head from left to right. A step that fails leaves in `verdict` why: something else stands here, or nothing yet.
private struct LaneReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0
    private var isOther = false

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var verdict: FastLane.Verdict { isOther ? .other : .incomplete }

    /// The byte that stands here; `nil` at the end.
    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    @inline(__always)
    mutating func pass(_ text: StaticString) -> Bool {
        let wanted = text.utf8CodeUnitCount
        let count = min(wanted, bytes.count - offset)
        guard let base = bytes.baseAddress, memcmp(base + offset, text.utf8Start, count) == 0 else {
            isOther = true
            return false
        }
        offset += count
        return count == wanted
    }

    /// A namespace's name, and the slash after it.
    mutating func namespace() -> UnsafeRawBufferPointer? {
        let start = offset
        while offset < bytes.count, ByteSet.namespace.contains(bytes[offset]) { offset += 1 }
        let length = offset - start
        let isInForm =
            length <= Limits.namespaceNameBytes && (length == 0 || ByteSet.alphanumeric.contains(bytes[start]))
        guard let end = next, isInForm else {
            isOther = !isInForm
            return nil
        }
        guard length > 0, end == UInt8(ascii: "/") else {
            isOther = true
            return nil
        }
        offset += 1
        return slice(start, length)
    }

    /// A key in which nothing is to be decoded.
    mutating func key() -> UnsafeRawBufferPointer? {
        let start = offset
        while offset < bytes.count, ByteSet.key.contains(bytes[offset]) { offset += 1 }
        let length = offset - start
        guard length <= Limits.keyBytes, length > 0 || offset == bytes.count else {
            isOther = true
            return nil
        }
        return offset < bytes.count ? slice(start, length) : nil
    }

    private func slice(_ start: Int, _ length: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])
    }

    // MARK: Header fields

    /// All fields and the empty line: those that are known to change nothing, and a Host that is served.
    mutating func fields(_ hosts: ServedHosts, _ aspect: EntryAspect) -> Bool {
        var seen: Field = []
        while let first = next {
            if first == UInt8(ascii: "\r") {
                guard pass("\r\n") else { return false }
                isOther = !seen.contains(.host)
                return !isOther
            }
            guard let field = fieldName(), let value = fieldValue() else { return false }
            guard seen.isDisjoint(with: field), changesNothing(field, value, hosts, aspect) else {
                isOther = true
                return false
            }
            seen.formUnion(field)
        }
        return false
    }

    private func changesNothing(
        _ field: Field,
        _ value: UnsafeRawBufferPointer,
        _ hosts: ServedHosts,
        _ aspect: EntryAspect
    ) -> Bool {
        switch field {
        case .host: hosts.serves(value)
        case .accept: Self.equal(value, "*/*") || (aspect == .entry && Self.equal(value, "application/json"))
        case .connection: Self.equal(value, "keep-alive")
        default: true
        }
    }

    /// A field of the list in `Field`, whose name may be in any case, and the colon.
    private mutating func fieldName() -> Field? {
        let start = offset
        while offset < bytes.count, bytes[offset] != UInt8(ascii: ":"), bytes[offset] > 0x20, bytes[offset] < 0x7f {
            offset += 1
        }
        guard let end = next else { return nil }
        guard end == UInt8(ascii: ":"), let field = Field(slice(start, offset - start)) else {
            isOther = true
            return nil
        }
        offset += 1
        return field
    }

    /// Printable ASCII up to the end of the line, without the space around it.
    private mutating func fieldValue() -> UnsafeRawBufferPointer? {
        while next == UInt8(ascii: " ") { offset += 1 }
        let start = offset
        skipPrintable()
        var end = offset
        guard pass("\r\n") else { return nil }
        while end > start, bytes[end - 1] == UInt8(ascii: " ") { end -= 1 }
        return slice(start, end - start)
    }

    /// Passes bytes from 0x20 to 0x7e, eight at a time.
    private mutating func skipPrintable() {
        while bytes.count - offset >= 8 {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian
            let control = (word &- 0x2020_2020_2020_2020) & ~word
            let delete = ((word ^ 0x7f7f_7f7f_7f7f_7f7f) &- 0x0101_0101_0101_0101) & ~(word ^ 0x7f7f_7f7f_7f7f_7f7f)
            // A borrow can only mark bytes above one that is marked rightly, and the lowest is what counts.
            let odd = (control | delete | word) & 0x8080_8080_8080_8080
            if odd != 0 {
                offset += odd.trailingZeroBitCount / 8
                return
            }
            offset += 8
        }
        while offset < bytes.count, (0x20...0x7e).contains(bytes[offset]) { offset += 1 }
    }

    /// Whether the bytes are `text`, which is in lower case, but for the case of letters.
    fileprivate static func equal(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count {
            let byte = bytes[index]
            let isCapital = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            if isCapital ? byte | 0x20 != text.utf8Start[index] : byte != text.utf8Start[index] { return false }
        }
        return true
    }
}

/// The fields that the lane knows. Each may come once.
private struct Field: OptionSet {
    let rawValue: UInt16

    static let host = Field(rawValue: 1 << 0)
    static let accept = Field(rawValue: 1 << 1)
    static let connection = Field(rawValue: 1 << 2)
    // What an answer never depends on:
    static let userAgent = Field(rawValue: 1 << 3)
    static let acceptEncoding = Field(rawValue: 1 << 4)
    static let acceptLanguage = Field(rawValue: 1 << 5)
    static let traceparent = Field(rawValue: 1 << 6)
    static let tracestate = Field(rawValue: 1 << 7)
    static let requestID = Field(rawValue: 1 << 8)

    init(rawValue: UInt16) { self.rawValue = rawValue }

    init?(_ name: UnsafeRawBufferPointer) {
        switch name.count {
        case 4 where LaneReader.equal(name, "host"): self = .host
        case 6 where LaneReader.equal(name, "accept"): self = .accept
        case 10 where LaneReader.equal(name, "user-agent"): self = .userAgent
        case 10 where LaneReader.equal(name, "connection"): self = .connection
        case 10 where LaneReader.equal(name, "tracestate"): self = .tracestate
        case 11 where LaneReader.equal(name, "traceparent"): self = .traceparent
        case 12 where LaneReader.equal(name, "x-request-id"): self = .requestID
        case 15 where LaneReader.equal(name, "accept-encoding"): self = .acceptEncoding
        case 15 where LaneReader.equal(name, "accept-language"): self = .acceptLanguage
        default: return nil
        }
    }
}

/// A set of ASCII bytes, a bit each.
private struct ByteSet {
    private let low: UInt64
    private let high: UInt64

    /// `[a-z0-9]`
    static let alphanumeric = ByteSet(low: 0x03ff_0000_0000_0000, high: 0x07ff_fffe_0000_0000)
    /// `[a-z0-9._-]`
    static let namespace = ByteSet(low: 0x03ff_6000_0000_0000, high: 0x07ff_fffe_8000_0000)
    /// What a path may hold as it is (`pchar` of RFC 3986, section 3.3, without percent-encoding, and the slash).
    static let key = ByteSet(low: 0x2fff_ffd2_0000_0000, high: 0x47ff_fffe_87ff_ffff)

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        if byte >= 0x80 { return false }
        return (byte < 0x40 ? low : high) >> UInt64(byte & 0x3f) & 1 != 0
    }
}
