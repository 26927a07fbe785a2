import Glibc
import PantlerModel

/// The right to write in a data folder: an exclusive `flock` on its file `lock`, which the kernel takes back when the process
/// ends, however it ends. The file holds the process's number, for the message to whoever comes second.
struct FolderLock: ~Copyable {
    static let fileName = "lock"

    private let descriptor: Int32

    /// Makes the folder where there is none, and takes the lock.
    init(folder: String) throws(DiskOpenError) {
        try Self.makeFolder(folder)
        let path = folder + "/" + Self.fileName
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            switch errno {
            case ENOSPC, EDQUOT: throw .full(path: path, reason: Self.reason(errno))
            case EMFILE, ENFILE: throw .failed(path: path, reason: Self.reason(errno))
            default: throw .notAllowed(path: path, reason: Self.reason(errno))
            }
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            let holder = Self.read(descriptor)
            Glibc.close(descriptor)
            guard code == EWOULDBLOCK else { throw .failed(path: path, reason: Self.reason(code)) }
            throw .inUse(folder: folder, process: holder.isEmpty ? "unknown" : holder)
        }
        // On a full disk the number is missing, and the lock holds all the same.
        let number = Array("\(getpid())\n".utf8)
        if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, number, number.count, 0) }
        self.descriptor = descriptor
    }

    deinit {
        // Closing gives the lock back. The file stays: to remove it would let two processes lock two different files.
        Glibc.close(descriptor)
    }

    private static func makeFolder(_ folder: String) throws(DiskOpenError) {
        var path = folder.hasPrefix("/") ? "/" : ""
        for part in folder.split(separator: "/") {
            path += part
            if mkdir(path, 0o700) != 0 {
                // `access` has a reason of its own.
                let code = errno
                if code != EEXIST, access(path, F_OK) != 0 { throw .noFolder(path: folder, reason: reason(code)) }
            }
            path += "/"
        }
        var status = stat()
        guard stat(folder, &status) == 0 else { throw .noFolder(path: folder, reason: reason(errno)) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw .noFolder(path: folder, reason: "it is a file, not a folder")
        }
    }

    private static func read(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? String(decoding: bytes[..<count].prefix { $0 > 0x20 }, as: UTF8.self) : ""
    }

    static func reason(_ code: Int32) -> String { systemReason(code) }
}
