internal import Glibc

/// The files, sockets among them, that the process may have open (RLIMIT_NOFILE, getrlimit(2)).
package enum DescriptorLimit {
    /// The number now; `Int.max` = any.
    package static var current: Int {
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur != .max else { return .max }
        return Int(clamping: limit.rlim_cur)
    }

    /// The sockets for which there are descriptors, beside the files of the store and of the process itself.
    package static var sockets: Int {
        let limit = current
        return limit == .max ? .max : max(limit - 128, limit / 2)
    }

    /// Those of them that may be connections; the others are for connections that are told that they are too many.
    package static var connections: Int {
        let sockets = sockets
        return sockets == .max ? .max : max(sockets - 128, sockets / 2)
    }

    /// Raises the number to the most that the system allows without privileges: the soft limit is low by default, for the sake of programs
    /// that use select(2), and raised by whoever does not.
    package static func raise() {
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        // Where that is refused the number stays as it was, and `current` tells.
        _ = setrlimit(resource, &limit)
    }

    private static var resource: __rlimit_resource_t { __rlimit_resource_t(RLIMIT_NOFILE.rawValue) }
}
