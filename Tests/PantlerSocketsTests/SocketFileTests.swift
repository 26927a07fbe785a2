import Glibc
import Support
import Testing

@testable import PantlerSockets

@Suite("A Unix socket that listens")
struct SocketFileTests {
    private let folder: TemporaryDirectory
    private var path: String { folder.file("s") }

    init() throws { folder = try TemporaryDirectory() }

    private func status(_ path: String) -> stat? {
        var status = stat()
        return lstat(path, &status) == 0 ? status : nil
    }

    private func fails(at path: String, group: String? = nil) -> SocketFileError? {
        do {
            try BoundSocket(at: path, mode: 0o600, group: group).close()
            return nil
        } catch {
            return error as? SocketFileError
        }
    }

    @Test(
        "has its mode whatever the umask is, takes connections, and goes at its end",
        arguments: [0o600, 0o660, 0o666]
    )
    func mode(mode: UInt16) throws {
        defer { folder.remove() }
        let socket = try BoundSocket(at: path, mode: mode, group: nil)
        #expect(socket.isUnix && socket.port == 0 && !socket.isInherited)
        #expect(status(path).map { $0.st_mode & 0o777 } == mode_t(mode))
        _ = try RawConnection(unix: path)
        #expect(names(in: folder.path) == ["s"], "nothing is left of the other name")
        socket.close()
        #expect(names(in: folder.path).isEmpty)
    }

    @Test("has its group, by number and by name")
    func group() throws {
        defer { folder.remove() }
        let own = getegid()
        try BoundSocket(at: path, mode: 0o660, group: "\(own)").close()
        guard geteuid() == 0 else { return }
        let socket = try BoundSocket(at: path, mode: 0o660, group: "daemon")
        defer { socket.close() }
        #expect(status(path)?.st_gid == getgrnam("daemon")?.pointee.gr_gid)
    }

    @Test("what a process has left that is gone is replaced")
    func leftBehind() throws {
        defer { folder.remove() }
        let left = try BoundSocket(at: path, mode: 0o600, group: nil)
        // As a process that was killed: the descriptor goes, the file stays.
        Glibc.close(left.descriptor)
        let socket = try BoundSocket(at: path, mode: 0o600, group: nil)
        _ = try RawConnection(unix: path)
        socket.close()
        #expect(names(in: folder.path).isEmpty)
    }

    @Test("one that is listened at is refused, also where it is full")
    func living() throws {
        defer { folder.remove() }
        let socket = try BoundSocket(at: path, mode: 0o600, group: nil)
        defer { socket.close() }
        #expect(fails(at: path) == .taken(path: path))
        // That look waits to be taken still; with a backlog of none a further one finds no room.
        listen(socket.descriptor, 0)
        #expect(fails(at: path) == .taken(path: path))
        #expect(names(in: folder.path) == ["s"])
    }

    @Test("a file that is no socket, or a link, is refused, and stays")
    func noSocket() throws {
        defer { folder.remove() }
        try folder.write("mine", to: "s")
        #expect(fails(at: path) == .noSocket(path: path))
        #expect(text(of: path) == "mine")
        #expect(symlink("/nowhere", folder.file("link")) == 0)
        #expect(fails(at: folder.file("link")) == .noSocket(path: folder.file("link")))
        #expect(fails(at: folder.path) == .noSocket(path: folder.path))
    }

    @Test("a missing folder, a missing group, a folder that may not be written to: each is said")
    func places() throws {
        defer { folder.remove() }
        #expect(fails(at: folder.file("none/s")) == .noFolder(folder.file("none")))
        try folder.write("", to: "file")
        #expect(fails(at: folder.file("file/s")) == .noFolder(folder.file("file")))
        #expect(fails(at: path, group: "no-such-group") == .noGroup("no-such-group"))
        #expect(fails(at: "/proc/s").map { "\($0)".hasPrefix("/proc/s: ") } == true)
        #expect(names(in: folder.path) == ["file"])
    }

    @Test("a path of 107 bytes is taken, and one of 108 refused")
    func length() throws {
        defer { folder.remove() }
        let longest = folder.path + "/" + String(repeating: "s", count: 106 - folder.path.utf8.count)
        let socket = try BoundSocket(at: longest, mode: 0o600, group: nil)
        _ = try RawConnection(unix: longest)
        #expect(names(in: folder.path).count == 1)
        socket.close()
        #expect(names(in: folder.path).isEmpty)
        #expect(fails(at: longest + "s") == .tooLong(path: longest + "s"))
    }

    @Test("another's file in its place is not removed at the end")
    func replaced() throws {
        defer { folder.remove() }
        let socket = try BoundSocket(at: path, mode: 0o600, group: nil)
        unlink(path)
        let other = try BoundSocket(at: path, mode: 0o600, group: nil)
        socket.close()
        _ = try RawConnection(unix: path)
        other.close()
        #expect(names(in: folder.path).isEmpty)
    }

    @Test("of several that start at the same time one wins, whatever was left there", arguments: [false, true])
    func race(isLeftBehind: Bool) throws {
        defer { folder.remove() }
        for _ in 0..<20 {
            if isLeftBehind { Glibc.close(try BoundSocket(at: path, mode: 0o600, group: nil).descriptor) }
            let results = try onThreads(8) { _ in try? BoundSocket(at: path, mode: 0o600, group: nil) }
            #expect(results.compactMap(\.self).count == 1)
            _ = try RawConnection(unix: path)
            for socket in results { socket?.close() }
            #expect(names(in: folder.path).isEmpty)
        }
    }
}
