internal import Foundation

/// A folder of a test's own; gone with the object, at the latest.
///
/// Where only its path is used, end the test's use of it by `defer { folder.remove() }`: that keeps it alive until then.
package final class TemporaryDirectory: Sendable {
    package let path: String

    package init() throws {
        path = FileManager.default.temporaryDirectory.path + "/pantler-test-\(UUID().uuidString.prefix(13))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        remove()
    }

    package func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of a file in it, which need not be there.
    package func file(_ name: String) -> String {
        path + "/" + name
    }

    /// Writes a file in it and returns its path.
    package func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }

    /// The same with a text.
    @discardableResult
    package func write(_ text: String, to name: String) throws -> String {
        try text.write(toFile: file(name), atomically: true, encoding: .utf8)
        return file(name)
    }
}

/// The whole of a file; empty where there is none.
package func contents(of path: String) -> [UInt8] {
    FileManager.default.contents(atPath: path).map { [UInt8]($0) } ?? []
}

package func text(of path: String) -> String {
    String(decoding: contents(of: path), as: UTF8.self)
}

package func names(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
}

package func copyFiles(of folder: String, to other: String) throws {
    for name in names(in: folder) {
        try FileManager.default.copyItem(atPath: "\(folder)/\(name)", toPath: "\(other)/\(name)")
    }
}
