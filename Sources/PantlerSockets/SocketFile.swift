internal import CPantler
import Glibc
internal import NIOCore

/// Why there is no listening at a Unix socket, each a sentence for the operator.
package enum SocketFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The system holds up to 107 bytes (unix(7)).
    case tooLong(path: String)
    case noFolder(String)
    case noSocket(path: String)
    /// Somebody listens there.
    case taken(path: String)
    case noGroup(String)
    /// Somebody else holds the folder's lock.
    case locked(folder: String)
    case failed(path: String, call: String, error: CInt)

    package var description: String {
        switch self {
        case .tooLong(let path):
            "\(path) has \(path.utf8.count) bytes, and a socket's path may have 107: choose a shorter one."
        case .noFolder(let folder):
            "The folder \(folder) is not there: make it, with the owner and the mode that suit the socket."
        case .noSocket(let path): "\(path) is there, and is no socket: choose another path, or remove it."
        case .taken(let path): "Another process listens at \(path): stop it, or choose another path."
        case .noGroup(let name): "There is no group '\(name)' on this machine."
        case .locked(let folder):
            "Another process holds the lock (flock) of the folder \(folder), without which two could take the same path: stop it, or choose another folder."
        case .failed(let path, let call, let error):
            "\(path): \(String(cString: strerror(error))) (\(call))." + Self.advice(call, error)
        }
    }

    private static func advice(_ call: String, _ error: CInt) -> String {
        switch (call, error) {
        case ("chown", EPERM): " The service's user has to be a member of the group."
        case (_, EACCES): " The service's user has to be able to write to the folder."
        case (_, EMFILE), (_, ENFILE): " Raise the number of open files (ulimit -n)."
        default: ""
        }
    }
}

/// The file of a Unix socket that listens: who it is, so that nobody else's is removed in its place.
struct SocketFile: Hashable, Sendable {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// unix(7): `sun_path` has 108 bytes, of which the last is NUL.
    static let longestPath = 107
    /// How long another starter's look at the path is waited for: it takes less than a millisecond.
    private static let patience = 50
    private static let pauseMicroseconds: UInt32 = 100_000

    /// Listens at a path: under another name at first, which the file loses for its own once it has its mode and group, and takes
    /// connections. Whoever sees the path reaches the service.
    ///
    /// What a process has left there that is gone is replaced. All of that is done under the folder's lock, so that of two that start at
    /// the same time one finds the other.
    ///
    /// - Returns: the socket's descriptor, which the caller has to close, and its file, to be removed at the end.
    static func listen(at path: String, mode: UInt16, group: String?) throws(SocketFileError) -> (CInt, SocketFile) {
        guard path.utf8.count <= longestPath else { throw .tooLong(path: path) }
        let group = try group.map { name throws(SocketFileError) in try identifier(ofGroup: name) }
        let folder = try Folder(of: path)
        defer { folder.close() }
        try folder.lock()
        try look(at: path)
        let temporary = folder.temporaryName(for: path)
        let descriptor = try bound(to: temporary.address, for: path)
        do throws(SocketFileError) {
            let file = try prepare(descriptor, temporary.path, path, mode, group)
            return (descriptor, file)
        } catch {
            unlink(temporary.path)
            close(descriptor)
            throw error
        }
    }

    /// Makes the file what it is to be, and gives it its name.
    private static func prepare(
        _ descriptor: CInt,
        _ temporary: String,
        _ path: String,
        _ mode: UInt16,
        _ group: gid_t?
    ) throws(SocketFileError) -> SocketFile {
        func check(_ call: String, _ body: () -> CInt) throws(SocketFileError) {
            let result = retried { Int(body()) }
            if result < 0 { throw .failed(path: path, call: call, error: CInt(-result)) }
        }
        if let group { try check("chown") { lchown(temporary, gid_t.max, group) } }
        try check("chmod") { chmod(temporary, mode_t(mode)) }
        try check("listen") { Glibc.listen(descriptor, BoundSocket.backlog) }
        var status = stat()
        try check("stat") { lstat(temporary, &status) }
        try check("rename") { rename(temporary, path) }
        return SocketFile(path: path, device: status.st_dev, inode: status.st_ino)
    }

    /// Removes the file, if the path still is its name: another process may have taken the place meanwhile.
    func remove() {
        guard let folder = try? Folder(of: path) else { return }
        defer { folder.close() }
        // Without the lock, too: what is looked at is only rarely replaced between this and the next line.
        try? folder.lock()
        var status = stat()
        guard lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode else { return }
        unlink(path)
    }

    // MARK: What stands there

    /// - Throws: where the path cannot be taken.
    private static func look(at path: String) throws(SocketFileError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw .failed(path: path, call: "stat", error: errno)
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw .noSocket(path: path) }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw .failed(path: path, call: "socket", error: errno) }
        defer { close(descriptor) }
        let result = retried { Int(withAddress(path) { connect(descriptor, $0, $1) }) }
        switch CInt(-result) {
        // Nobody has it, or it has gone just now.
        case ECONNREFUSED, ENOENT: return
        // It is full (EAGAIN), or of datagrams (EPROTOTYPE): somebody has it.
        case 0, EAGAIN, EPROTOTYPE, EINPROGRESS: throw .taken(path: path)
        case let error: throw .failed(path: path, call: "connect", error: error)
        }
    }

    private static func bound(to address: String, for path: String) throws(SocketFileError) -> CInt {
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw .failed(path: path, call: "socket", error: errno) }
        // The file begins with the socket's own mode, without what the umask takes: nobody's, until it is what it should be.
        fchmod(descriptor, 0o600)
        let result = retried { Int(withAddress(address) { bind(descriptor, $0, $1) }) }
        guard result < 0 else { return descriptor }
        close(descriptor)
        throw .failed(path: path, call: "bind", error: CInt(-result))
    }

    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(longestPath)) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    /// - Parameter name: or its number.
    private static func identifier(ofGroup name: String) throws(SocketFileError) -> gid_t {
        // The number that means "leave it" is nobody's.
        if let number = UInt32(name), number != .max { return number }
        var entry = group()
        var found: UnsafeMutablePointer<group>?
        var memory = [CChar](repeating: 0, count: 1 << 10)
        while case let error = getgrnam_r(name, &entry, &memory, memory.count, &found), error != 0 {
            guard error == ERANGE, memory.count < 1 << 24 else { throw .noGroup(name) }
            memory = [CChar](repeating: 0, count: memory.count * 2)
        }
        guard found != nil else { throw .noGroup(name) }
        return entry.gr_gid
    }

    /// The folder that a socket's file stands in.
    private struct Folder {
        private let path: String
        private let descriptor: CInt

        init(of file: String) throws(SocketFileError) {
            path = file.lastIndex(of: "/").map { $0 == file.startIndex ? "/" : String(file[..<$0]) } ?? "."
            descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if descriptor >= 0 { return }
            if errno == ENOENT || errno == ENOTDIR { throw .noFolder(path) }
            throw .failed(path: path, call: "open", error: errno)
        }

        func close() { Glibc.close(descriptor) }

        /// Takes the lock, which goes with the descriptor.
        func lock() throws(SocketFileError) {
            for _ in 0..<SocketFile.patience {
                if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return }
                guard errno == EWOULDBLOCK || errno == EINTR else {
                    throw .failed(path: path, call: "flock", error: errno)
                }
                usleep(SocketFile.pauseMicroseconds)
            }
            throw .locked(folder: path)
        }

        /// A name beside a file's for the time before it has its own: its path, and what to bind to. That goes by the folder's descriptor
        /// where the path is too long to be bound to.
        func temporaryName(for file: String) -> (path: String, address: String) {
            let ending = "." + String(UInt32.random(in: .min ... .max), radix: 36)
            let temporary = file + ending
            if temporary.utf8.count <= SocketFile.longestPath { return (temporary, temporary) }
            let short = "pantler" + ending
            return (path == "/" ? "/\(short)" : "\(path)/\(short)", "/proc/self/fd/\(descriptor)/\(short)")
        }
    }
}
