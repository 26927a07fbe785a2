import Glibc
import Support
import Testing

@testable import PantlerDisk

@Suite("Room that is kept back")
struct BallastTests {
    @Test("it takes blocks of the device, follows its size, and gives them up")
    func blocks() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let ballast = Ballast(folder: folder.path)
        let path = folder.file(Ballast.fileName)
        #expect(!ballast.give())
        #expect(ballast.make(bytes: 1 << 20))
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_size == 1 << 20)
        #expect(status.st_blocks * 512 >= 1 << 20, "it is no hole")
        #expect(ballast.make(bytes: 1 << 18))
        #expect(DatabaseFile.bytes(of: path) == 1 << 18)
        #expect(ballast.give())
        #expect(!DatabaseFile.exists(path))
    }

    @Test("a folder that is not there says nothing of the room on its device")
    func nowhere() {
        #expect(Ballast(folder: "/nowhere/at/all").make(bytes: 4096))
        #expect(!DatabaseFile.exists("/nowhere"))
    }
}
