/// The names that this server answers to: those that a Host field may have, so that no web page can reach a service on loopback by a name
/// of its own that resolves to this machine. An address is not such a name, and is always served.
struct ServedHosts: Sendable {
    /// The names in lower case, each after a byte with its length: one piece of memory to walk through.
    private let names: [UInt8]
    private let servesAll: Bool

    /// - Parameters:
    ///   - names: without ports; an IPv6 address with or without its brackets. `*` serves any name. Empty = `address` and the names
    ///     of this machine to itself.
    ///   - address: what the server listens on.
    init(_ names: [String], address: String) {
        let names = names.isEmpty ? [address, "localhost", "127.0.0.1", "[::1]"] : names
        servesAll = names.contains("*")
        var encoded: [UInt8] = []
        for name in names {
            var bytes = Array(name.asciiLowercased.utf8)
            if bytes.contains(UInt8(ascii: ":")), bytes.first != UInt8(ascii: "[") {
                bytes = [UInt8(ascii: "[")] + bytes + [UInt8(ascii: "]")]
            }
            guard (1...255).contains(bytes.count) else { continue }
            encoded.append(UInt8(bytes.count))
            encoded += bytes
        }
        self.names = encoded
    }

    /// Whether a Host field's value, with or without a port, is one of the names, or an address. Complexity: O(names).
    func serves(_ value: UnsafeRawBufferPointer) -> Bool {
        guard var length = Self.nameLength(value), length > 0 else { return false }
        if servesAll || Self.isAddress(value, length) { return true }
        // A name may end with the dot of the DNS root.
        if length > 1, value[length - 1] == UInt8(ascii: ".") { length -= 1 }
        return names.withUnsafeBytes { names in
            var offset = 0
            while offset < names.count {
                let count = Int(names[offset])
                if count == length, Self.equal(names, offset + 1, value, length) { return true }
                offset += 1 + count
            }
            return false
        }
    }

    func serves(_ value: String) -> Bool {
        var value = value
        return value.withUTF8 { serves(UnsafeRawBufferPointer($0)) }
    }

    /// Whether the first `length` bytes are an address of IPv4, or what looks like one of IPv6 in its brackets, in which no name can stand.
    private static func isAddress(_ value: UnsafeRawBufferPointer, _ length: Int) -> Bool {
        if value[0] == UInt8(ascii: "[") { return isIPv6(value[1..<length - 1]) }
        guard length <= 15 else { return false }
        var (parts, digits, part) = (1, 0, 0)
        for byte in value[..<length] {
            if byte == UInt8(ascii: "."), digits > 0 {
                parts += 1
                (digits, part) = (0, 0)
            } else if (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte), digits < 3 {
                digits += 1
                part = part * 10 + Int(byte & 0x0f)
                if part > 255 { return false }
            } else {
                return false
            }
        }
        return parts == 4 && digits > 0
    }

    private static func isIPv6(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
        var colons = 0
        for byte in text {
            switch byte {
            case UInt8(ascii: ":"): colons += 1
            case UInt8(ascii: "."): break
            default: if PercentDecoding.hexDigit(byte) == nil { return false }
            }
        }
        return colons >= 2
    }

    /// The length of what stands before the port; `nil` if what follows is no port.
    private static func nameLength(_ value: UnsafeRawBufferPointer) -> Int? {
        var index = 0
        if value.first == UInt8(ascii: "[") {
            while index < value.count, value[index] != UInt8(ascii: "]") { index += 1 }
            index += 1
            if index > value.count { return nil }
        } else {
            while index < value.count, value[index] != UInt8(ascii: ":") { index += 1 }
        }
        let length = index
        if index == value.count { return length }
        guard value[index] == UInt8(ascii: ":") else { return nil }
        index += 1
        while index < value.count {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(value[index]) else { return nil }
            index += 1
        }
        return length
    }

    private static func equal(
        _ names: UnsafeRawBufferPointer,
        _ offset: Int,
        _ value: UnsafeRawBufferPointer,
        _ length: Int
    ) -> Bool {
        for index in 0..<length {
            var byte = value[index]
            if (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) { byte |= 0x20 }
            if byte != names[offset + index] { return false }
        }
        return true
    }
}
