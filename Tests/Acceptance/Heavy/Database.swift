import Foundation
import Support
import Testing

/// A service's SQLite file, looked at and damaged from outside: by the command line tool `sqlite3`, and as bytes.
struct Database {
    let path: String

    /// Runs SQL and returns what it prints, without the line feed at the end.
    @discardableResult
    func run(_ sql: String) throws -> String {
        let result = try Command.run(program: ["sqlite3", path], input: sql + ";\n")
        guard result.status == 0, result.errors.isEmpty else {
            throw Failure("\(result)\nThis test needs the command line tool sqlite3, Debian's package of that name.")
        }
        return String(result.output.dropLast())
    }

    /// What `PRAGMA integrity_check` says: `ok`, or what is wrong.
    ///
    /// - Parameter folder: a data folder. It is looked at in a copy, since whoever opens a database after a crash changes it.
    static func integrity(of folder: String) throws -> String {
        let copy = try TemporaryDirectory()
        defer { copy.remove() }
        try copyFiles(of: folder, to: copy.path)
        guard let path = ServerProcess.databaseFile(in: copy.path) else {
            throw Failure("no SQLite file in \(folder): \(names(in: folder))")
        }
        return try Database(path: path).run("PRAGMA integrity_check")
    }

    /// Changes the file's bytes.
    func change(_ body: (inout [UInt8]) throws -> Void) throws {
        var bytes = contents(of: path)
        try body(&bytes)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    /// Overwrites whole pages with bytes that mean nothing.
    func damage(pages: some Sequence<Int>, size: Int, _ generator: inout SeededGenerator) throws {
        try change { bytes in
            for page in pages { bytes.replaceSubrange(page * size..<(page + 1) * size, with: generator.bytes(size)) }
        }
    }
}
