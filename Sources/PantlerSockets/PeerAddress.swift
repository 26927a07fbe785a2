internal import CPantler

/// Who is at a connection's other end: an address with a port, or a process of this machine at a Unix socket.
package struct PeerAddress: Hashable, Sendable, CustomStringConvertible {
    private enum Family {
        case local, ipv4, ipv6
    }

    private let family: Family
    private let port: UInt16
    /// The address in the order of the network; IPv4's takes the highest 32 bits.
    private let high: UInt64
    private let low: UInt64

    /// A process at a Unix socket.
    package static let local = PeerAddress(.local, port: 0, high: 0, low: 0)

    private init(_ family: Family, port: UInt16, high: UInt64, low: UInt64) {
        self.family = family
        self.port = port
        self.high = high
        self.low = low
    }

    init(_ peer: pantler_peer) {
        var address = peer.address
        let (high, low) = withUnsafeBytes(of: &address) { bytes in
            (bytes.loadUnaligned(as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        let family: Family =
            switch peer.family {
            case pantler_peer_ipv4: .ipv4
            case pantler_peer_ipv6: .ipv6
            default: .local
            }
        self.init(family, port: peer.port, high: UInt64(bigEndian: high), low: UInt64(bigEndian: low))
    }

    package init(ipv4 bytes: (UInt8, UInt8, UInt8, UInt8), port: UInt16) {
        let (a, b, c, d) = (UInt64(bytes.0), UInt64(bytes.1), UInt64(bytes.2), UInt64(bytes.3))
        self.init(.ipv4, port: port, high: a << 56 | b << 48 | c << 40 | d << 32, low: 0)
    }

    /// Whether the other end is on this machine, by its own word for it: 127.0.0.0/8, ::1, or a Unix socket.
    package var isLoopback: Bool {
        switch family {
        case .local: true
        case .ipv4: high >> 56 == 127
        case .ipv6: high == 0 && low == 1
        }
    }

    /// All addresses that one peer is likely to have at once, as one: an address of IPv4, and a /64 of IPv6 (RFC 6177, section 2), each without
    /// its port.
    package var network: PeerAddress { PeerAddress(family, port: 0, high: high, low: 0) }

    /// As `127.0.0.1:4711`, `[2001:db8::1]:4711` or `unix`.
    package var description: String {
        switch family {
        case .local: return "unix"
        case .ipv4:
            let bytes = (0..<4).map { "\(UInt8(truncatingIfNeeded: high >> (56 - 8 * $0)))" }
            return bytes.joined(separator: ".") + ":\(port)"
        case .ipv6: return "[\(Self.text(high, low))]:\(port)"
        }
    }

    /// RFC 5952: hexadecimal in lower case, and `::` for the longest run of zeros, of two at least.
    private static func text(_ high: UInt64, _ low: UInt64) -> String {
        let groups = [high, low].flatMap { half in (0..<4).map { UInt16(truncatingIfNeeded: half >> (48 - 16 * $0)) } }
        var longest = 0..<0
        var start = 0
        for index in 0...groups.count where index == groups.count || groups[index] != 0 {
            if index - start > max(1, longest.count) { longest = start..<index }
            start = index + 1
        }
        func join(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        if longest.isEmpty { return join(0..<groups.count) }
        return join(0..<longest.lowerBound) + "::" + join(longest.upperBound..<groups.count)
    }
}
