import Glibc
import NIOCore
internal import PantlerModel
import PantlerSockets

/// Why the server does not listen at a place, in sentences for the operator.
package struct ListenError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }

    init(at place: Listener.Place, _ error: any Error) {
        switch error {
        // These say it all.
        case let error as SocketFileError: description = "Cannot listen at \(place): \(error)"
        case let error as IOError:
            let advice =
                switch error.errnoCode {
                case EADDRNOTAVAIL: " Name an address that this machine has."
                case EACCES: " Ports below 1024 take a privilege: choose another with --port."
                // What a limit has stopped is no matter of the place.
                case let code where !limitAdvice(code).isEmpty: ""
                default: " Choose another place with --host and --port, or end what listens there."
                }
            description = "Cannot listen at \(place): \(systemReason(error.errnoCode))." + advice
        default: description = "Cannot listen at \(place): \(error)."
        }
    }
}

extension Listener.Place: CustomStringConvertible {
    /// As a URL has it: an address of IPv6 in brackets (RFC 3986, section 3.2.2), a socket as `unix:/path`.
    package var description: String {
        switch self {
        case .port(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .socket(let path, _, _): "unix:\(path)"
        }
    }
}

/// The sockets of all listeners: those that were handed over, and those that are bound here.
struct ListenerSockets {
    /// For each listener at least one: a name may have several addresses.
    private(set) var all: [[BoundSocket]] = []

    /// How often a free port is looked for that all addresses of a listener have.
    private static let attempts = 20

    /// Listens at all places, or at none.
    ///
    /// A socket that was handed over is the listener's that names its address. A listener that has some binds none besides: who hands
    /// them over says where it listens.
    init(_ listeners: [Listener], _ inherited: [InheritedSocket]) throws(ListenError) {
        do throws(ListenError) {
            let hosts = try listeners.map { listener throws(ListenError) in try Self.addresses(of: listener.place) }
            var given = listeners.map { _ in [BoundSocket]() }
            for socket in inherited {
                guard socket.isListening else { throw Self.unusable(socket) }
                let owner = listeners.indices.first { Self.names(listeners[$0].place, hosts[$0], socket.name) }
                guard let owner else { throw Self.unnamed(socket, listeners) }
                do {
                    given[owner].append(try BoundSocket(socket))
                } catch {
                    throw ListenError(at: listeners[owner].place, error)
                }
            }
            for (index, listener) in listeners.enumerated() {
                all.append(given[index].isEmpty ? try Self.bind(listener.place, hosts[index]) : given[index])
            }
        } catch {
            close()
            throw error
        }
    }

    func close() { for socket in all.joined() { socket.close() } }

    /// Whether others have some of them too.
    var areShared: Bool { all.contains { $0.contains(where: \.isInherited) } }

    // MARK: Those that are bound here

    private static func addresses(of place: Listener.Place) throws(ListenError) -> HostAddresses? {
        guard case .port(let host, let port) = place else { return nil }
        do throws(HostAddressesError) {
            return try HostAddresses(of: host, port: port)
        } catch {
            throw ListenError(
                "Cannot listen at \(place): \(error). Name an address of this machine, or a name that it has."
            )
        }
    }

    private static func bind(_ place: Listener.Place, _ addresses: HostAddresses?) throws(ListenError) -> [BoundSocket]
    {
        do {
            switch place {
            case .socket(let path, let mode, let group): return [try BoundSocket(at: path, mode: mode, group: group)]
            case .port(_, let port):
                guard let addresses else { return [] }
                for _ in 1..<attempts {
                    do {
                        return try bind(addresses)
                    } catch let error as IOError where port == 0 && error.errnoCode == EADDRINUSE {
                        // The port that was free at the first address is none at another.
                        continue
                    }
                }
                return try bind(addresses)
            }
        } catch {
            throw ListenError(at: place, error)
        }
    }

    /// Listens at all addresses, with the same port.
    private static func bind(_ addresses: HostAddresses) throws -> [BoundSocket] {
        var sockets: [BoundSocket] = []
        do {
            for address in addresses.all {
                var address = address
                if let first = sockets.first { address.port = first.port }
                do {
                    sockets.append(try BoundSocket(at: address))
                } catch let error as IOError where addresses.isIPv6Optional && isMissing(error) {
                    if case .v6 = address { continue }
                    throw error
                }
            }
        } catch {
            for socket in sockets { socket.close() }
            throw error
        }
        return sockets
    }

    /// Whether an error says that the machine has no addresses of that family.
    private static func isMissing(_ error: IOError) -> Bool {
        error.errnoCode == EAFNOSUPPORT || error.errnoCode == EADDRNOTAVAIL
    }

    // MARK: Those that were handed over

    /// Whether a listener is the one that a socket's name means. Any port will do where the listener takes any.
    private static func names(_ place: Listener.Place, _ addresses: HostAddresses?, _ name: SocketName) -> Bool {
        switch (place, name) {
        case (.socket(let path, _, _), .path(let bound)): absolute(path) == absolute(bound)
        case (.port(_, let port), .address(_, let bound, _)):
            (port == 0 || port == bound) && addresses?.contains(name) == true
        default: false
        }
    }

    /// A path from the root on, without what says nothing.
    private static func absolute(_ path: String) -> [Substring] {
        var text = path
        if !path.hasPrefix("/"), let folder = getcwd(nil, 0) {
            text = String(cString: folder) + "/" + path
            free(folder)
        }
        return text.split(separator: "/").filter { $0 != "." }
    }

    private static func unusable(_ socket: InheritedSocket) -> ListenError {
        ListenError(
            "Descriptor \(socket.descriptor)\(label(socket)) was handed over (LISTEN_FDS), and is no socket that takes connections: a socket unit for Pantler has ListenStream= and Accept=no."
        )
    }

    private static func unnamed(_ socket: InheritedSocket, _ listeners: [Listener]) -> ListenError {
        var advice = "name it in server.listen, or in server.host and server.port or server.socket"
        if case .address(let bytes, _, let isIPv6Only) = socket.name, bytes.count == 16, bytes.allSatisfy({ $0 == 0 }),
            !isIPv6Only
        {
            advice += " (\"*\" is all addresses of both families, and 0.0.0.0 those of IPv4)"
        }
        let known = listeners.map { "\($0.place)" }.joined(separator: ", ")
        return ListenError(
            "The socket \(socket.name)\(label(socket)) was handed over (LISTEN_FDS), and no listener has that address (there is \(known)): \(advice), or take it out of the socket unit."
        )
    }

    private static func label(_ socket: InheritedSocket) -> String { socket.label.map { " ('\($0)')" } ?? "" }
}
