internal import PantlerDisk

extension CheckFinding {
    /// Reads a data folder from end to end, and changes nothing in it.
    ///
    /// - Throws: a failure where there is none, or it is not Pantler's.
    static func dataFolder(_ path: String) throws(CommandFailure) -> [CheckFinding] {
        let report: FolderReport
        do {
            report = try FolderCheck.run(folder: path)
        } catch {
            throw CommandFailure(.failed, code: "data_folder_unreadable", error.description)
        }
        let log = Readable.bytes(report.walBytes)
        let damaged = report.damagedRows > 0 ? "\(Readable.count(report.damagedRows)) entries are damaged" : nil
        let waiting = report.journaled > 0 ? ", \(Readable.count(report.journaled)) changes in the journal" : ""
        let parts = [
            CheckFinding(
                part: "database",
                fault: nil,
                detail: "schema version \(report.schemaVersion), \(Readable.bytes(report.fileBytes)), log \(log)"
            ),
            CheckFinding(
                part: "entries",
                fault: damaged,
                detail: "\(Readable.count(report.entries)) in \(Readable.count(Int64(report.namespaces))) namespaces, "
                    + "\(Readable.bytes(report.bytes)), \(Readable.count(report.deflated)) deflated\(waiting)"
            ),
        ]
        return parts + report.findings.map { CheckFinding(part: "finding", fault: "damaged", detail: $0) }
    }
}
