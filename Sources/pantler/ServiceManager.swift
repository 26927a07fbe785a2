internal import Glibc

/// systemd, where it has started the service as one of `Type=notify`: it is told when the service serves, when it stops, and that it lives.
///
/// sd_notify(3) and sd_watchdog_enabled(3): lines of text to a datagram socket that the environment names.
struct ServiceManager: Sendable {
    private let path: [UInt8]
    /// How often it wants to hear that the service lives, halved; `nil` = not at all.
    let watchdogPause: Duration?

    /// Microseconds: more often costs more than it can tell.
    private static let leastPause: Int64 = 10_000

    /// `nil` where nobody wants to be told.
    init?() {
        guard let path = environment("NOTIFY_SOCKET"), path.hasPrefix("/") || path.hasPrefix("@") else { return nil }
        self.path = Array(path.utf8)
        let isForThis = environment("WATCHDOG_PID").map { $0 == "\(getpid())" } ?? true
        let microseconds = environment("WATCHDOG_USEC").flatMap { Int64($0) } ?? 0
        watchdogPause = isForThis && microseconds > 0 ? .microseconds(max(Self.leastPause, microseconds / 2)) : nil
    }

    /// Sends a state such as `READY=1`. It is not waited for: where nobody takes it the service goes on, and systemd says itself what it misses.
    func tell(_ state: String) {
        let socket = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return }
        defer { close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
        withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            bytes.copyBytes(from: path)
            // A name in the abstract namespace begins with NUL, which @ stands for in a variable.
            if path.first == UInt8(ascii: "@") { bytes[0] = 0 }
        }
        let length = socklen_t((MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2) + path.count)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(socket, state, state.utf8.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), $0, length)
            }
        }
    }
}
