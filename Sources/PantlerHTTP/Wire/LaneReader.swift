import Glibc
import PantlerModel

/// Reads a head from left to right. A step that fails leaves in `verdict` why: something else stands here, or nothing yet.
struct LaneReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0
    private var isOther = false
    /// What Content-Length says; 0 without one.
    private var bodyLength = 0

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
        guard offset < bytes.count else { return nil }
        let key = slice(start, length)
        isOther = KeyForm.isFolded(key)
        return isOther ? nil : key
    }

    private func slice(_ start: Int, _ length: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])
    }

    // MARK: Header fields

    /// All fields and the empty line: those that are known to change nothing, and the ones that are needed.
    mutating func fields(_ hosts: ServedHosts, _ aspect: EntryAspect, needed: LaneField) -> Bool {
        var seen: LaneField = []
        while let first = next {
            if first == UInt8(ascii: "\r") {
                guard pass("\r\n") else { return false }
                isOther = !seen.isSuperset(of: needed)
                return !isOther
            }
            guard let field = fieldName(), let value = fieldValue() else { return false }
            let isWanted = seen.isDisjoint(with: field) && needed.union(.harmless).contains(field)
            guard isWanted, isPlain(field, value, hosts, aspect) else {
                isOther = true
                return false
            }
            seen.formUnion(field)
        }
        return false
    }

    /// Whether a field says what it says in a plain request, or nothing that matters.
    private mutating func isPlain(
        _ field: LaneField,
        _ value: UnsafeRawBufferPointer,
        _ hosts: ServedHosts,
        _ aspect: EntryAspect
    ) -> Bool {
        switch field {
        case .host: return hosts.serves(value)
        case .accept:
            return Self.equal(value, "*/*") || (aspect == .entry && Self.equal(value, "application/json"))
        case .connection: return Self.equal(value, "keep-alive")
        case .contentType: return Self.equal(value, "application/json")
        case .contentLength:
            guard let length = Self.number(value) else { return false }
            bodyLength = length
            return true
        default: return true
        }
    }

    /// Decimal digits, of a number below a billion: what is longer is out of any bounds, or has zeros in front.
    private static func number(_ digits: UnsafeRawBufferPointer) -> Int? {
        guard (1...9).contains(digits.count) else { return nil }
        var number = 0
        for byte in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            number = number * 10 + Int(byte &- UInt8(ascii: "0"))
        }
        return number
    }

    /// The body behind the fields; `nil` if it is longer than `limit`, or not all there.
    mutating func body(atMost limit: Int) -> UnsafeRawBufferPointer? {
        guard bodyLength <= limit, bodyLength <= bytes.count - offset else { return nil }
        defer { offset += bodyLength }
        return slice(offset, bodyLength)
    }

    /// A field of the list in `LaneField`, whose name may be in any case, and the colon.
    private mutating func fieldName() -> LaneField? {
        let start = offset
        while offset < bytes.count, bytes[offset] != UInt8(ascii: ":"), bytes[offset] > 0x20, bytes[offset] < 0x7f {
            offset += 1
        }
        guard let end = next else { return nil }
        guard end == UInt8(ascii: ":"), let field = LaneField(slice(start, offset - start)) else {
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
struct LaneField: OptionSet {
    let rawValue: UInt16

    static let host = LaneField(rawValue: 1 << 0)
    static let accept = LaneField(rawValue: 1 << 1)
    static let connection = LaneField(rawValue: 1 << 2)
    static let contentType = LaneField(rawValue: 1 << 3)
    static let contentLength = LaneField(rawValue: 1 << 4)
    // What an answer never depends on:
    static let userAgent = LaneField(rawValue: 1 << 5)
    static let acceptEncoding = LaneField(rawValue: 1 << 6)
    static let acceptLanguage = LaneField(rawValue: 1 << 7)
    static let traceparent = LaneField(rawValue: 1 << 8)
    static let tracestate = LaneField(rawValue: 1 << 9)
    static let requestID = LaneField(rawValue: 1 << 10)

    /// Those that must be there, by method. A GET that speaks of a body is not plain.
    static let ofGet: LaneField = [.host]
    static let ofPut: LaneField = [.host, .contentType, .contentLength]
    /// Those that may be there in any case.
    static let harmless: LaneField = [
        .accept, .connection, .userAgent, .acceptEncoding, .acceptLanguage, .traceparent, .tracestate, .requestID,
    ]

    init(rawValue: UInt16) { self.rawValue = rawValue }

    init?(_ name: UnsafeRawBufferPointer) {
        switch name.count {
        case 4 where LaneReader.equal(name, "host"): self = .host
        case 6 where LaneReader.equal(name, "accept"): self = .accept
        case 10 where LaneReader.equal(name, "user-agent"): self = .userAgent
        case 10 where LaneReader.equal(name, "connection"): self = .connection
        case 10 where LaneReader.equal(name, "tracestate"): self = .tracestate
        case 11 where LaneReader.equal(name, "traceparent"): self = .traceparent
        case 12 where LaneReader.equal(name, "content-type"): self = .contentType
        case 12 where LaneReader.equal(name, "x-request-id"): self = .requestID
        case 14 where LaneReader.equal(name, "content-length"): self = .contentLength
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
