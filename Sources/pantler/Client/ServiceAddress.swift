/// Where a service answers: `http://host:port`, perhaps with a path that everything stands below.
struct ServiceAddress: Hashable, Sendable {
    let isSecure: Bool
    /// Without the brackets of IPv6.
    let host: String
    let port: Int
    /// As a Host header names it.
    let authority: String
    /// Empty, or begins with a slash and ends without one.
    let path: String

    var url: String { "\(isSecure ? "https" : "http")://\(authority)\(path)" }

    init(_ text: String) throws(CommandFailure) {
        guard let parsed = Self(parsing: text) else {
            throw .usage(
                "'\(text)' is no address of a service: it looks like http://127.0.0.1:8080, in --url or PANTLER_URL."
            )
        }
        self = parsed
    }

    private init?(parsing text: String) {
        if text.hasPrefix("http://") {
            isSecure = false
        } else if text.hasPrefix("https://") {
            isSecure = true
        } else {
            return nil
        }
        let rest = text.dropFirst(isSecure ? 8 : 7)
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }), !rest.contains(where: { "?#@\"<>\\".contains($0) })
        else {
            return nil
        }
        let authority = rest.prefix { $0 != "/" }
        var path = String(rest[authority.endIndex...])
        while path.hasSuffix("/") { path.removeLast() }
        self.path = path
        self.authority = String(authority)
        let end: Substring.Index
        if authority.hasPrefix("[") {
            guard let bracket = authority.firstIndex(of: "]") else { return nil }
            host = String(authority[..<bracket].dropFirst())
            end = authority.index(after: bracket)
        } else {
            end = authority.firstIndex(of: ":") ?? authority.endIndex
            host = String(authority[..<end])
        }
        guard !host.isEmpty else { return nil }
        if end == authority.endIndex {
            port = isSecure ? 443 : 80
        } else {
            guard authority[end] == ":", let number = UInt16(authority[end...].dropFirst()), number > 0 else {
                return nil
            }
            port = Int(number)
        }
    }
}

extension String {
    /// Percent-encoded, whatever it holds: fit for a path's segment and for a query. Points are encoded too, so that nothing
    /// on the way takes `..` for a step up.
    var percentEncoded: String {
        var encoded: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"):
                encoded.append(byte)
            default:
                encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0x0f)]]
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}
