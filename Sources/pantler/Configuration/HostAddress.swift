internal import Glibc

/// An address of IPv4 or IPv6, as `inet_pton` reads it.
struct HostAddress: Hashable, Sendable {
    /// In the order of the network: 4 or 16.
    let bytes: [UInt8]

    /// - Returns: `nil` for what is no address, as a name. A zone (`fe80::1%eth0`) is left out.
    init?(_ text: String) {
        if let bytes = Self.bytes(text, AF_INET, 4) {
            self.bytes = bytes
        } else if let bytes = Self.bytes(String(text.prefix { $0 != "%" }), AF_INET6, 16) {
            self.bytes = bytes
        } else {
            return nil
        }
    }

    private static func bytes(_ text: String, _ family: CInt, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    /// Whether it is this machine's to itself: 127.0.0.0/8, or ::1.
    var isLoopback: Bool {
        bytes.count == 4 ? bytes[0] == 127 : bytes == [UInt8](repeating: 0, count: 15) + [1]
    }

    /// Whether a host of the configuration, an address or a name, is this machine alone. `localhost` is by its definition (RFC 6761, section
    /// 6.3); any other name may be more.
    static func isLoopback(_ host: String) -> Bool {
        host.lowercased() == "localhost" || HostAddress(host)?.isLoopback == true
    }
}
