import Support

/// A small file system in memory, mounted for one test; gone with the object. Takes the right to mount, as root has it.
///
/// End a test's use of it by `defer { mount.remove() }`: that keeps it alive until then.
final class TemporaryMount: Sendable {
    private let folder: TemporaryDirectory
    /// Where a service may keep its data.
    let dataFolder: String

    /// - Parameter size: as tmpfs takes it: `8m`.
    init(size: String) throws {
        folder = try TemporaryDirectory()
        dataFolder = folder.file("data")
        try Self.run("mount", "-t", "tmpfs", "-o", "size=\(size)", "tmpfs", folder.path)
    }

    deinit {
        remove()
    }

    /// Unmounts it, also while a process that outlived its test has files open there.
    func remove() {
        _ = try? Self.run("umount", "--lazy", folder.path)
        folder.remove()
    }

    /// Nothing can be written any more.
    func makeReadOnly() throws {
        try Self.run("mount", "-o", "remount,ro", folder.path)
    }

    /// Takes all the room that is left.
    func fill() throws {
        let result = try Command.run(program: ["dd", "if=/dev/zero", "of=\(folder.file("filler"))", "bs=4096"])
        guard result.errors.contains("No space left") else { throw Failure("it did not become full: \(result)") }
    }

    /// Gives back the room that `fill` took.
    func makeRoom() throws {
        try Self.run("rm", folder.file("filler"))
    }

    private static func run(_ program: String...) throws {
        let result = try Command.run(program: program)
        guard result.status == 0 else { throw Failure("\(program): \(result)") }
    }

    /// Whether this process may mount: root may, but for some containers.
    static let isPossible: Bool = {
        guard let mount = try? TemporaryMount(size: "64k") else { return false }
        mount.remove()
        return true
    }()
}
