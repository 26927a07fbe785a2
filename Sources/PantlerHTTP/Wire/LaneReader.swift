import Glibc
import PantlerModel

/// Reads a head from left to right. After a step that failed, `verdict` tells why: what stands here is nothing for the lane, or has not
/// come yet.
struct LaneReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0
    private var isOther = false
    private var isHTTP10 = false
    /// What Content-Length says; 0 without one.
    private(set) var bodyLength = 0
    /// Whether the connection ends with the answer.
    private(set) var closes = false
    /// What Authorization says; empty without one.
    private(set) var authorization = UnsafeRawBufferPointer(start: nil, count: 0)
    /// What X-Request-ID says, if it is to be echoed; empty otherwise.
    private(set) var requestID = UnsafeRawBufferPointer(start: nil, count: 0)

    /// Fields that a head may have.
    static let fieldLimit = 256

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var verdict: FastLane.Verdict { isOther ? .other : .incomplete }

    /// The next byte; `nil` at the end.
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

    /// Reads a namespace's name, and the slash after it.
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

    /// Reads a key, and decodes it.
    ///
    /// - Parameter scratch: where the key goes if there is anything to decode.
    mutating func key(_ scratch: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer? {
        let start = offset
        while offset < bytes.count, ByteSet.key.contains(bytes[offset]) { offset += 1 }
        let length = offset - start
        guard length <= Limits.keyBytes else {
            isOther = true
            return nil
        }
        guard let end = next else { return nil }
        guard end != UInt8(ascii: "%") else { return encodedKey(slice(start, length), scratch) }
        let key = slice(start, length)
        isOther = length == 0 || KeyForm.isFolded(key)
        return isOther ? nil : key
    }

    /// Reads the rest of a key in which something has to be decoded, from here on.
    ///
    /// - Parameter plain: the part of the key before this.
    private mutating func encodedKey(
        _ plain: UnsafeRawBufferPointer,
        _ scratch: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer? {
        scratch.copyMemory(from: plain)
        var length = plain.count
        var isASCII = true
        while let byte = next {
            var decoded = byte
            if byte == UInt8(ascii: "%") {
                guard bytes.count - offset > 2 else { return nil }
                guard let high = PercentDecoding.hexDigit(bytes[offset + 1]),
                    let low = PercentDecoding.hexDigit(bytes[offset + 2]), high | low != 0
                else { return refuse() }
                decoded = high << 4 | low
                if decoded >= 0x80 { isASCII = false }
            } else if !ByteSet.key.contains(byte) {
                let key = UnsafeRawBufferPointer(rebasing: scratch[..<length])
                return KeyForm.isFolded(key) || !(isASCII || Self.isUTF8(key)) ? refuse() : key
            }
            guard length < Limits.keyBytes else { return refuse() }
            scratch[length] = decoded
            length += 1
            offset += byte == UInt8(ascii: "%") ? 3 : 1
        }
        return nil
    }

    private static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.withMemoryRebound(to: UInt8.self) { bytes in
            do {
                _ = try UTF8Span(validating: bytes.span)
                return true
            } catch {
                return false
            }
        }
    }

    /// Notes that the request is nothing for the lane. Always returns `nil`.
    private mutating func refuse() -> UnsafeRawBufferPointer? {
        isOther = true
        return nil
    }

    /// The bytes from `start` up to here.
    func passed(from start: Int) -> UnsafeRawBufferPointer { slice(start, offset - start) }

    /// Reads the version, and the end of the request's line.
    mutating func version() -> Bool {
        guard pass(" HTTP/1.") else { return false }
        isHTTP10 = next == UInt8(ascii: "0")
        // With HTTP/1.0 a connection ends after each request unless the client says otherwise. nginx speaks so to its upstreams by default.
        closes = isHTTP10
        return isHTTP10 ? pass("0\r\n") : pass("1\r\n")
    }

    private func slice(_ start: Int, _ length: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])
    }

    // MARK: Header fields

    /// Reads all fields and the empty line. Fields that mean nothing to the request are stepped over.
    ///
    /// A GET with a body is left to the decoder, and a PUT needs to say how long its body is. A POST that does not say has none (RFC 9112,
    /// section 6.3); one of HTTP/1.0 is left to the decoder.
    mutating func fields(_ hosts: ServedHosts, _ method: LaneMethod) -> Bool {
        var seen: LaneField = []
        var count = 0
        while let first = next {
            if first == UInt8(ascii: "\r") {
                guard pass("\r\n") else { return false }
                var needed: LaneField = isHTTP10 ? [] : .host
                if method == .put || method == .post && isHTTP10 { needed.formUnion(.contentLength) }
                if method == .post, bodyLength > 0 { needed.formUnion(.contentType) }
                isOther = !seen.isSuperset(of: needed)
                return !isOther
            }
            count += 1
            isOther = count > Self.fieldLimit
            guard !isOther, let name = fieldName() else { return false }
            let field = LaneField(name, hasBody: method != .get)
            guard !field.isEmpty else {
                guard passText() else { return false }
                continue
            }
            guard field != .requestID else {
                guard passRequestID(isFirst: seen.isDisjoint(with: field)) else { return false }
                seen.formUnion(field)
                continue
            }
            guard let value = fieldValue() else { return false }
            guard seen.isDisjoint(with: field), isPlain(field, value, hosts, method) else {
                isOther = true
                return false
            }
            seen.formUnion(field)
        }
        return false
    }

    /// Whether a field has a value that it may have in a plain request.
    private mutating func isPlain(
        _ field: LaneField,
        _ value: UnsafeRawBufferPointer,
        _ hosts: ServedHosts,
        _ method: LaneMethod
    ) -> Bool {
        switch field {
        case .host: return hosts.serves(value)
        case .connection:
            if Self.equal(value, "close") {
                closes = true
                return true
            }
            return !isHTTP10 && (Self.equal(value, "keep-alive") || Self.equal(value, "upgrade, http2-settings"))
        // java.net.http offers HTTP/2 with each of its requests. Nobody has to take the offer (RFC 9110, section 7.8).
        case .upgrade: return Self.equal(value, "h2c")
        case .contentType:
            if method == .post { return Self.isJSON(value) }
            // Any type will do but `multipart/…`. All that begin with its letter are left to the decoder.
            return value.first.map { $0 | 0x20 != UInt8(ascii: "m") } ?? true
        case .contentLength:
            guard let length = Self.number(value), method != .get || length == 0 else { return false }
            bodyLength = length
            return true
        case .authorization:
            authorization = value
            return !value.isEmpty
        default: return false
        }
    }

    /// Whether a media type is JSON's, with parameters or without.
    private static func isJSON(_ type: UnsafeRawBufferPointer) -> Bool {
        let name: StaticString = "application/json"
        let count = name.utf8CodeUnitCount
        guard type.count >= count, equal(UnsafeRawBufferPointer(rebasing: type[..<count]), name) else { return false }
        return type.count == count || type[count] == UInt8(ascii: ";")
    }

    /// A number of at most nine decimal digits; `nil` for anything else. A longer one is beyond all bounds, or begins with zeros.
    private static func number(_ digits: UnsafeRawBufferPointer) -> Int? {
        guard (1...9).contains(digits.count) else { return nil }
        var number = 0
        for byte in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            number = number * 10 + Int(byte &- UInt8(ascii: "0"))
        }
        return number
    }

    /// Takes the body behind the fields; `nil` if it is not all there.
    mutating func body() -> UnsafeRawBufferPointer? {
        guard bodyLength <= bytes.count - offset else { return nil }
        defer { offset += bodyLength }
        return slice(offset, bodyLength)
    }

    /// Reads a field's name (`token` of RFC 9110, section 5.6.2), and the colon.
    private mutating func fieldName() -> UnsafeRawBufferPointer? {
        let start = offset
        skipToken()
        guard let end = next else { return nil }
        let length = offset - start
        guard end == UInt8(ascii: ":"), length > 0 else { return refuse() }
        offset += 1
        return slice(start, length)
    }

    /// Reads printable ASCII up to the end of the line, and returns it without the space around it.
    private mutating func fieldValue() -> UnsafeRawBufferPointer? {
        while next == UInt8(ascii: " ") { offset += 1 }
        let start = offset
        skipPrintable()
        var end = offset
        guard pass("\r\n") else { return nil }
        while end > start, bytes[end - 1] == UInt8(ascii: " ") { end -= 1 }
        return slice(start, end - start)
    }

    /// Passes a value that nobody looks at, up to the end of the line: it may hold tabs, and bytes beyond ASCII.
    private mutating func passText() -> Bool {
        skipPrintable()
        while let byte = next, byte == UInt8(ascii: "\t") || byte >= 0x80 {
            offset += 1
            skipPrintable()
        }
        return pass("\r\n")
    }

    /// Reads a request's id. One that is not echoed, or comes twice, is as good as none, and no reason to leave the lane.
    private mutating func passRequestID(isFirst: Bool) -> Bool {
        let start = offset
        guard passText() else { return false }
        let isSpace: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        var value = bytes[start..<offset - 2].drop(while: isSpace)
        while let last = value.last, isSpace(last) { value.removeLast() }
        let id = UnsafeRawBufferPointer(rebasing: value)
        requestID = isFirst && RequestID.isValid(id) ? id : UnsafeRawBufferPointer(start: nil, count: 0)
        return true
    }

    /// Passes bytes of a token: eight at a time as long as they are letters, digits and hyphens, of which nearly all names are.
    private mutating func skipToken() {
        var index = offset
        while bytes.count - index >= 8 {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self).littleEndian
            // In each byte's highest bit, which no sum of two numbers of seven bits gets beyond, stands whether it is one.
            let plain = word & 0x7f7f_7f7f_7f7f_7f7f
            let small = plain | 0x2020_2020_2020_2020
            let letter = (small &+ 0x1f1f_1f1f_1f1f_1f1f) & ~(small &+ 0x0505_0505_0505_0505)
            let digit = (plain &+ 0x5050_5050_5050_5050) & ~(plain &+ 0x4646_4646_4646_4646)
            let hyphen = ~((plain ^ 0x2d2d_2d2d_2d2d_2d2d) &+ 0x7f7f_7f7f_7f7f_7f7f)
            let other = ~((letter | digit | hyphen) & ~word) & 0x8080_8080_8080_8080
            if other != 0 {
                index += other.trailingZeroBitCount / 8
                break
            }
            index += 8
        }
        while index < bytes.count, ByteSet.token.contains(bytes[index]) { index += 1 }
        offset = index
    }

    /// Passes bytes from 0x20 to 0x7e, eight at a time.
    private mutating func skipPrintable() {
        var index = offset
        while bytes.count - index >= 8 {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self).littleEndian
            let control = (word &- 0x2020_2020_2020_2020) & ~word
            let delete = ((word ^ 0x7f7f_7f7f_7f7f_7f7f) &- 0x0101_0101_0101_0101) & ~(word ^ 0x7f7f_7f7f_7f7f_7f7f)
            // A borrow can wrongly mark only bytes above one that is marked rightly, and only the lowest mark counts.
            let odd = (control | delete | word) & 0x8080_8080_8080_8080
            if odd != 0 {
                offset = index + odd.trailingZeroBitCount / 8
                return
            }
            index += 8
        }
        while index < bytes.count, (0x20...0x7e).contains(bytes[index]) { index += 1 }
        offset = index
    }

    /// Whether the bytes are `text`, whatever the case of their letters. `text` is in lower case.
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

/// The methods of plain requests.
enum LaneMethod {
    case get, put, post
}

/// The fields that mean something to a plain request. Each but `requestID` may come once. All others are stepped over, so that a new field that is to mean
/// something has to be added here.
struct LaneField: OptionSet {
    let rawValue: UInt8

    static let host = LaneField(rawValue: 1 << 0)
    static let connection = LaneField(rawValue: 1 << 1)
    static let contentType = LaneField(rawValue: 1 << 2)
    static let contentLength = LaneField(rawValue: 1 << 3)
    static let upgrade = LaneField(rawValue: 1 << 5)
    static let authorization = LaneField(rawValue: 1 << 6)
    /// What the answer is to be marked by, which changes nothing else.
    static let requestID = LaneField(rawValue: 1 << 7)
    /// A field that changes where the message ends, what it asks for, or whether it may be asked for. A request with one is left to the
    /// decoder, whatever the field says.
    static let leaving = LaneField(rawValue: 1 << 4)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// - Parameters:
    ///   - name: a field's name, in any case.
    ///   - hasBody: whether the body means something. Such a request changes something, and may come from a page that must not.
    init(_ name: UnsafeRawBufferPointer, hasBody: Bool) {
        func says(_ text: StaticString) -> Bool { LaneReader.equal(name, text) }
        switch name.count {
        case 4 where says("host"): self = .host
        case 5 where says("lease"): self = .leaving
        case 6 where says("expect") || hasBody && says("origin"): self = .leaving
        case 7 where says("upgrade"): self = .upgrade
        case 7 where says("trailer"): self = .leaving
        case 8 where says("if-match"): self = .leaving
        case 10 where says("connection"): self = .connection
        case 12 where hasBody && says("content-type"): self = .contentType
        case 12 where says("x-request-id"): self = .requestID
        case 13 where says("authorization"): self = .authorization
        case 13 where says("if-none-match"): self = .leaving
        case 14 where says("content-length"): self = .contentLength
        case 14 where hasBody && says("sec-fetch-site"): self = .leaving
        // The decoder takes Proxy-Connection for another Connection.
        case 16 where says("content-encoding") || says("proxy-connection"): self = .leaving
        case 17 where says("transfer-encoding"): self = .leaving
        default: self = []
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
    /// `tchar` of RFC 9110, section 5.6.2.
    static let token = ByteSet(low: 0x03ff_6cfa_0000_0000, high: 0x57ff_ffff_c7ff_fffe)
    /// What a path may hold as it is (`pchar` of RFC 3986, section 3.3, without percent-encoding, and the slash).
    static let key = ByteSet(low: 0x2fff_ffd2_0000_0000, high: 0x47ff_fffe_87ff_ffff)

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        if byte >= 0x80 { return false }
        return (byte < 0x40 ? low : high) >> UInt64(byte & 0x3f) & 1 != 0
    }
}
