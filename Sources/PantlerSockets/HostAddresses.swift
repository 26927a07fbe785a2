import Glibc
package import NIOCore

/// The addresses that a listener's host stands for.
package struct HostAddresses: Sendable {
    package let all: [SocketAddress]
    /// Whether those of IPv6 are left out where the machine has none: `*` and `localhost` name both families, and nobody's wish in
    /// particular.
    package let isIPv6Optional: Bool

    /// Looks up a name, which may take as long as the system's resolver likes.
    ///
    /// - Parameter host: an address of either family, with a zone perhaps (`fe80::1%eth0`); a name, for all addresses that it has; `*`, for
    ///   all of the machine's. `localhost` is this machine whatever the resolver says (RFC 6761, section 6.3).
    /// - Throws: `HostAddressesError`.
    package init(of host: String, port: Int) throws(HostAddressesError) {
        switch host.lowercased() {
        case "*":
            all = try Self.resolve("0.0.0.0", port) + Self.resolve("::", port)
            isIPv6Optional = true
        case "localhost":
            all = try Self.resolve("127.0.0.1", port) + Self.resolve("::1", port)
            isIPv6Optional = true
        default:
            all = try Self.resolve(host, port)
            isIPv6Optional = false
        }
    }

    /// Whether a socket is bound to one of them, whatever its port.
    package func contains(_ name: SocketName) -> Bool {
        guard case .address(let bytes, _, _) = name else { return false }
        return all.contains { address in
            address.withSockAddr { pointer, _ in
                let pointer = UnsafeRawPointer(pointer)
                return switch CInt(pointer.loadUnaligned(as: sockaddr.self).sa_family) {
                case AF_INET:
                    withUnsafeBytes(of: pointer.loadUnaligned(as: sockaddr_in.self).sin_addr) {
                        $0.elementsEqual(bytes)
                    }
                case AF_INET6:
                    withUnsafeBytes(of: pointer.loadUnaligned(as: sockaddr_in6.self).sin6_addr) {
                        $0.elementsEqual(bytes)
                    }
                default: false
                }
            }
        }
    }

    private static func resolve(_ host: String, _ port: Int) throws(HostAddressesError) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &list)
        guard code == 0 else { throw HostAddressesError(host: host, reason: String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ai_next
            guard let bytes = entry.ai_addr.map({ UnsafeRawPointer($0) }) else { continue }
            let address: SocketAddress
            switch entry.ai_family {
            case AF_INET: address = SocketAddress(bytes.loadUnaligned(as: sockaddr_in.self))
            case AF_INET6: address = SocketAddress(bytes.loadUnaligned(as: sockaddr_in6.self))
            default: continue
            }
            if !found.contains(address) { found.append(address) }
        }
        guard !found.isEmpty else { throw HostAddressesError(host: host, reason: "it has no address") }
        return found
    }
}

/// Why a name is no place to listen at.
package struct HostAddressesError: Error, Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let reason: String

    package var description: String { "\(host) has no address: \(reason)" }
}
