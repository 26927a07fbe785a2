import Glibc
import PantlerModel

/// Why a data folder cannot be used. The description says what to do about it.
package enum DiskOpenError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Another process has the folder.
    case inUse(folder: String, process: String)
    /// The system refuses the folder or a file in it.
    case notAllowed(path: String, reason: String)
    /// The folder is not there and cannot be made, or is no folder.
    case noFolder(path: String, reason: String)
    /// There is no database to look at.
    case noData(path: String)
    /// The file is no database, or the database of something else.
    case notOurs(path: String, reason: String)
    /// A newer Pantler wrote the file.
    case newer(path: String, version: Int, known: Int)
    /// The file is damaged where nothing can do without it.
    case damaged(path: String, reason: String)
    /// No room on the device.
    case full(path: String, reason: String)
    case failed(path: String, reason: String)

    package var description: String {
        switch self {
        case .inUse(let folder, let process):
            "The data folder '\(folder)' is served by another pantler (process \(process)). "
                + "Stop that one, or give this one a folder of its own with --data-dir."
        case .notAllowed(let path, let reason):
            "Cannot write '\(path)': \(reason). Give pantler's user the right to write there, or choose another folder with --data-dir."
        case .noFolder(let path, let reason):
            "Cannot make the data folder '\(path)': \(reason). Choose another with --data-dir."
        case .noData(let path):
            "There is no '\(path)'. Name the folder that pantler serves with --data-dir."
        case .notOurs(let path, let reason):
            "'\(path)' is no database of Pantler's: \(reason). Move the file away, or choose another folder with --data-dir."
        case .newer(let path, let version, let known):
            "'\(path)' was written by a newer Pantler: its schema has version \(version), this one knows up to \(known). "
                + "Nothing was changed. Use that newer version, or choose another folder with --data-dir."
        case .damaged(let path, let reason):
            "'\(path)' is damaged: \(reason). Run 'pantler check', restore a backup, or move the file away to begin with an empty cache."
        case .full(let path, let reason):
            "No room for '\(path)': \(reason). Free some space, or choose another folder with --data-dir."
        case .failed(let path, let reason):
            "Cannot open '\(path)': \(reason)."
        }
    }

    init(_ error: SQLiteError, path: String) {
        switch error.code.primary {
        case .notADatabase: self = .notOurs(path: path, reason: error.message)
        case .corrupt: self = .damaged(path: path, reason: error.message)
        case .full: self = .full(path: path, reason: error.message)
        // The process has too many files open: that is no matter of rights.
        case .cannotOpen where [EMFILE, ENFILE].contains(error.systemError):
            self = .failed(path: path, reason: error.description)
        case .readOnly, .cannotOpen: self = .notAllowed(path: path, reason: error.description)
        default:
            self =
                error.fault.cause == .full
                ? .full(path: path, reason: error.description) : .failed(path: path, reason: error.description)
        }
    }
}
