/// Where a service answers: `http://host:port`, perhaps with a path that everything stands below, or `unix:/path` of its Unix socket.
struct ServiceAddress: Hashable, Sendable {
    let isSecure: Bool
    /// Without the brackets of IPv6.
    let host: String
    let port: Int
    /// As a Host header names it.
    let authority: String
    /// Empty, or begins with a slash and ends without one.
    let path: String
    /// The path of a Unix socket, in the place of host and port.
    let socket: String?

    var url: String {
        if let socket { return "unix:\(socket)" }
        return "\(isSecure ? "https" : "http")://\(authority)\(path)"
    }

    /// The same as AsyncHTTPClient wants it.
    var requestURL: String { socket.map { "http+unix://\($0.percentEncoded)" } ?? url }

    /// unix(7): the system holds that many bytes of a socket's path.
    private static let longestSocketPath = 107

    init(_ text: String) throws(CommandFailure) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(text.hasPrefix("unix://") ? 7 : 5))
            guard (1...Self.longestSocketPath).contains(path.utf8.count), !path.utf8.contains(0) else {
                throw .usage(
                    "'\(text)' is no address of a service: a Unix socket's path has 1 to \(Self.longestSocketPath) bytes, as in unix:/run/pantler/pantler.sock."
                )
            }
            (isSecure, host, port, authority, self.path, socket) = (false, "localhost", 0, "localhost", "", path)
            return
        }
        guard let parsed = Self(parsing: text) else {
            throw .usage(
                "'\(text)' is no address of a service: it looks like http://127.0.0.1:8080 or unix:/run/pantler/pantler.sock, in --url or PANTLER_URL."
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
        socket = nil
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
