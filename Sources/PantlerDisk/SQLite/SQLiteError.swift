import CSQLite
import Glibc
package import PantlerModel

/// One of SQLite's result codes, extended (https://www.sqlite.org/rescode.html): not a closed list, since newer libraries add to it.
package struct ResultCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: Int32

    package init(rawValue: Int32) { self.rawValue = rawValue }

    /// The code without its extension.
    package var primary: ResultCode { ResultCode(rawValue: rawValue & 0xff) }

    package static let ok = ResultCode(rawValue: SQLITE_OK)
    package static let row = ResultCode(rawValue: SQLITE_ROW)
    package static let done = ResultCode(rawValue: SQLITE_DONE)
    package static let busy = ResultCode(rawValue: SQLITE_BUSY)
    package static let full = ResultCode(rawValue: SQLITE_FULL)
    package static let ioError = ResultCode(rawValue: SQLITE_IOERR)
    // Extended codes are macros that Swift does not import.
    package static let shortRead = ResultCode(rawValue: SQLITE_IOERR | 2 << 8)
    package static let failedSync = ResultCode(rawValue: SQLITE_IOERR | 4 << 8)
    /// A code of our own: a change whose version is below that of its key's row.
    package static let outdated = ResultCode(rawValue: SQLITE_CONSTRAINT | 0x7f << 8)
    package static let failedFolderSync = ResultCode(rawValue: SQLITE_IOERR | 5 << 8)
    package static let corrupt = ResultCode(rawValue: SQLITE_CORRUPT)
    package static let notADatabase = ResultCode(rawValue: SQLITE_NOTADB)
    package static let readOnly = ResultCode(rawValue: SQLITE_READONLY)
    package static let cannotOpen = ResultCode(rawValue: SQLITE_CANTOPEN)
    package static let tooBig = ResultCode(rawValue: SQLITE_TOOBIG)
    package static let constraint = ResultCode(rawValue: SQLITE_CONSTRAINT)
    package static let noMemory = ResultCode(rawValue: SQLITE_NOMEM)
}

/// What SQLite refused, in its own words.
package struct SQLiteError: Error, Hashable, Sendable, CustomStringConvertible {
    package var code: ResultCode
    package var message: String
    /// `errno` of the system call that failed, where one did; else 0.
    package var systemError: Int32

    init(code: ResultCode, message: String, systemError: Int32 = 0) {
        self.code = code
        self.message = message
        self.systemError = systemError
    }

    /// The last error of a connection.
    init(_ code: Int32, on database: OpaquePointer?) {
        self.code = ResultCode(rawValue: code)
        message = String(cString: database.map { sqlite3_errmsg($0) } ?? sqlite3_errstr(code))
        systemError = database.map { sqlite3_system_errno($0) } ?? 0
    }

    package var description: String {
        let detail = systemError == 0 ? "" : ": " + systemReason(systemError)
        return "SQLite: \(message) (code \(code.rawValue))\(detail)"
    }

    /// Whether another row could do well where this one did not: the transaction is then tried in halves.
    var concernsOneRow: Bool {
        [.tooBig, .constraint, .corrupt].contains(code.primary)
    }

    /// Whether a sync failed: what was written before it may not be on disk, and no later sync will say so again.
    var isFailedSync: Bool { code == .failedSync || code == .failedFolderSync }

    /// Whether a page of the file is not what was written, or is not there.
    var isDamage: Bool {
        code != .outdated && ([.corrupt, .notADatabase].contains(code.primary) || code == .shortRead)
    }

    /// The error as the store knows it.
    package var fault: TierFault {
        switch code.primary {
        case .full: TierFault(.full, description)
        case _ where code == .outdated: TierFault(.corrupt, description)
        // A file at its size limit (`ulimit -f`) is missing room, too.
        case .ioError where [ENOSPC, EDQUOT, EFBIG].contains(systemError): TierFault(.full, description)
        case .corrupt, .notADatabase: TierFault(.corrupt, description)
        // The file ends where a page should be.
        case .ioError where code == .shortRead: TierFault(.corrupt, description)
        default: TierFault(.unavailable, description)
        }
    }
}
