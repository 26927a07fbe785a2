internal import CPantler
import Glibc
package import NIOCore

/// A socket that is bound and listens, before anybody takes its connections (`ListeningSocket`).
package struct BoundSocket: Sendable {
    /// What becomes of it at its end.
    private enum End: Sendable {
        case close
        /// A Unix socket of our own goes with its file.
        case remove(SocketFile)
        /// Others have it too, and go on listening.
        case leave
    }

    package let descriptor: CInt
    /// 0 for a Unix socket.
    package let port: Int
    package let isUnix: Bool
    private let end: End

    /// How many connections may wait in the kernel to be taken.
    static let backlog: CInt = 4096

    /// Listens at an address.
    ///
    /// An address of IPv6 is that of IPv6 alone (IPV6_V6ONLY), also `::`: 0.0.0.0 and :: then mean one family each whatever the system's
    /// default is, as in nginx and Redis.
    ///
    /// - Throws: `IOError`, as of an address that is in use.
    package init(at address: SocketAddress) throws {
        let kind = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = try checked("socket") { socket(CInt(address.protocol.rawValue), kind, 0) }
        do {
            if case .v6 = address { try Self.set(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY) }
            try Self.set(descriptor, SOL_SOCKET, SO_REUSEADDR)
            // The connections that it takes inherit the option.
            try Self.set(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY)
            _ = try address.withSockAddr { address, size in
                try checked("bind") { bind(descriptor, address, socklen_t(size)) }
            }
            _ = try checked("listen") { listen(descriptor, Self.backlog) }
            port = try SocketName(of: descriptor).port ?? 0
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        isUnix = false
        end = .close
    }

    /// Listens at a Unix socket, whose file is made by this (`SocketFile`).
    ///
    /// - Throws: `SocketFileError`.
    package init(at path: String, mode: UInt16, group: String?) throws {
        let file: SocketFile
        (descriptor, file) = try SocketFile.listen(at: path, mode: mode, group: group)
        port = 0
        isUnix = true
        end = .remove(file)
    }

    /// Takes one that was handed over. It is not closed for others by `close`, and its file, if it has one, stays.
    package init(_ inherited: InheritedSocket) throws {
        let flags = try checked("fcntl") { fcntl(inherited.descriptor, F_GETFL) }
        _ = try checked("fcntl") { fcntl(inherited.descriptor, F_SETFL, flags | O_NONBLOCK) }
        descriptor = inherited.descriptor
        port = inherited.name.port ?? 0
        if case .path = inherited.name { isUnix = true } else { isUnix = false }
        // The connections that it takes inherit the option.
        if !isUnix { try Self.set(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY) }
        end = .leave
    }

    package var isInherited: Bool { if case .leave = end { true } else { false } }

    /// Lets go of it: of one that was handed over by giving up the descriptor alone, so that what waits in the kernel waits for the next
    /// process that takes it.
    package func close() {
        if case .remove(let file) = end { file.remove() }
        Glibc.close(descriptor)
    }

    private static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt) throws {
        var one: CInt = 1
        _ = try checked("setsockopt") {
            setsockopt(descriptor, level, option, &one, socklen_t(MemoryLayout.size(ofValue: one)))
        }
    }
}

/// What a socket is bound to.
package enum SocketName: Hashable, Sendable, CustomStringConvertible {
    /// The address's bytes in the order of the network, 4 or 16, and for IPv6 whether IPv4 is left to others.
    case address([UInt8], port: Int, isIPv6Only: Bool)
    /// A Unix socket's file.
    case path(String)
    /// Anything else: a name in the abstract namespace, none, or another family's.
    case other

    /// `nil` for what has no ports.
    package var port: Int? { if case .address(_, let port, _) = self { port } else { nil } }

    /// - Throws: `IOError` where the descriptor is no socket.
    init(of descriptor: CInt) throws {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout.size(ofValue: storage))
        _ = try withUnsafeMutableBytes(of: &storage) { bytes in
            try checked("getsockname") {
                getsockname(descriptor, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, &size)
            }
        }
        self = withUnsafeBytes(of: storage) { bytes in
            switch CInt(storage.ss_family) {
            case AF_INET:
                let address = bytes.loadUnaligned(as: sockaddr_in.self)
                let octets = withUnsafeBytes(of: address.sin_addr) { Array($0) }
                return .address(octets, port: Int(UInt16(bigEndian: address.sin_port)), isIPv6Only: false)
            case AF_INET6:
                let address = bytes.loadUnaligned(as: sockaddr_in6.self)
                let octets = withUnsafeBytes(of: address.sin6_addr) { Array($0) }
                let port = Int(UInt16(bigEndian: address.sin6_port))
                return .address(
                    octets,
                    port: port,
                    isIPv6Only: option(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY) == 1
                )
            case AF_UNIX:
                let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
                let path = bytes[min(start, Int(size))..<min(Int(size), bytes.count)].prefix { $0 != 0 }
                guard let text = String(validating: path, as: UTF8.self), !text.isEmpty else { return .other }
                return .path(text)
            default: return .other
            }
        }
    }

    package var description: String {
        switch self {
        case .address(let bytes, let port, _):
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN) + 1)
            let family = bytes.count == 4 ? AF_INET : AF_INET6
            guard inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return "?" }
            let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return bytes.count == 4 ? "\(address):\(port)" : "[\(address)]:\(port)"
        case .path(let path): return "unix:\(path)"
        case .other: return "no address that Pantler knows"
        }
    }
}

/// An option's value; -1 where there is none.
func option(_ descriptor: CInt, _ level: CInt, _ name: CInt) -> CInt {
    var value: CInt = -1
    var size = socklen_t(MemoryLayout.size(ofValue: value))
    return getsockopt(descriptor, level, name, &value, &size) == 0 ? value : -1
}
