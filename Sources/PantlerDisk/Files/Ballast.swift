import Glibc

/// Room that is kept back on the device: a file that is removed when the disk is full, so that deletes and invalidations can still be written,
/// which make room. It is made again when there is enough.
///
/// Used by one thread at a time.
struct Ballast {
    static let fileName = "pantler.ballast"

    private let path: String

    /// - Parameter folder: the data folder.
    init(folder: String) {
        path = folder + "/" + Self.fileName
    }

    /// Sees to it that the file takes so many bytes of the device, or a sixteenth of a small one. It is only made where as much is left beside
    /// it, since the room that it has just given up is no reason to make it again.
    ///
    /// Complexity: O(1) where the file is there, else O(bytes).
    ///
    /// - Returns: whether the file is there, or cannot be for another reason than want of room, which says nothing of the device.
    func make(bytes wanted: Int64) -> Bool {
        guard let device = Device(of: path) else { return true }
        let bytes = max(1, min(wanted, device.bytes / 16))
        let present = DatabaseFile.bytes(of: path)
        if present == bytes { return true }
        if present < bytes, device.freeBytes < 2 * bytes { return false }
        let file = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { return ![ENOSPC, EDQUOT].contains(errno) }
        defer { Glibc.close(file) }
        // The file must have blocks of the device: a hole would keep no room back.
        if present > bytes ? ftruncate(file, off_t(bytes)) == 0 : posix_fallocate(file, 0, off_t(bytes)) == 0 {
            return true
        }
        // The file may have got a part of what was asked for.
        unlink(path)
        return false
    }

    /// Gives the room back to the device.
    ///
    /// - Returns: whether there was any.
    func give() -> Bool { unlink(path) == 0 }

    /// How large the device is that a file lies on, and how much of it is left for processes without privileges.
    private struct Device {
        let bytes: Int64
        let freeBytes: Int64

        init?(of path: String) {
            var status = statvfs()
            guard statvfs(String(path.dropLast(Ballast.fileName.utf8.count + 1)), &status) == 0 else { return nil }
            let block = UInt64(status.f_frsize)
            bytes = Int64(clamping: UInt64(status.f_blocks).multipliedReportingOverflow(by: block).partialValue)
            freeBytes = Int64(clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: block).partialValue)
        }
    }
}
