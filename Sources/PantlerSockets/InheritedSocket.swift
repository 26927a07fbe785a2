import Glibc
internal import NIOCore

/// A socket that whoever started the process has handed over: systemd, or another that keeps it open over restarts, so that no
/// connection is refused meanwhile.
///
/// sd_listen_fds(3): LISTEN_FDS descriptors from 3 on, for the process that LISTEN_PID names, each with a name in LISTEN_FDNAMES.
package struct InheritedSocket: Hashable, Sendable {
    package let descriptor: CInt
    /// The name that it was given; for people.
    package let label: String?
    package let name: SocketName
    /// Whether it is one that takes connections, as bytes in a stream.
    package let isListening: Bool

    /// Those of this process, in their order. To be asked for before the process opens a file or starts a thread: it takes the variables
    /// out of the environment, and has the descriptors closed in programs that the process starts, so that each is handed over once.
    package static let ofProcess = take()

    private static let first: CInt = 3

    private static func take() -> [InheritedSocket] {
        let (process, count, names) = (variable("LISTEN_PID"), variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"))
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"] { unsetenv(name) }
        return sockets(process: process, count: count, names: names)
    }

    /// - Parameters: the variables' values, and the first descriptor.
    static func sockets(process: String?, count: String?, names: String?, first: CInt = first) -> [InheritedSocket] {
        guard let process, pid_t(process) == getpid(), let count = count.flatMap({ CInt($0) }), count > 0 else {
            return []
        }
        let labels = names?.split(separator: ":", omittingEmptySubsequences: false).map(String.init) ?? []
        return (0..<min(count, CInt.max - first)).prefix { fcntl(first + $0, F_SETFD, FD_CLOEXEC) == 0 }.map { index in
            InheritedSocket(first + index, label: Int(index) < labels.count ? labels[Int(index)] : nil)
        }
    }

    init(_ descriptor: CInt, label: String?) {
        self.descriptor = descriptor
        self.label = label
        name = (try? SocketName(of: descriptor)) ?? .other
        isListening =
            option(descriptor, SOL_SOCKET, SO_ACCEPTCONN) == 1
            && option(descriptor, SOL_SOCKET, SO_TYPE) == CInt(SOCK_STREAM.rawValue)
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
