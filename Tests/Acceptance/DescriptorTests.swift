import Foundation
import Support
import Testing

@Suite("A service that may open no more files")
struct DescriptorTests {
    @Test("leaves connections waiting, says so once, and takes them as soon as it can")
    func none() throws {
        let server = try ServerProcess()
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.pid)/fd").count
        let limit = try ChildProcess(
            ["prlimit", "--pid", "\(server.pid)", "--nofile=\(open + 4)"],
            environment: Command.environment(),
            folder: server.folder.path,
            output: "/dev/null",
            errors: "/dev/null"
        )
        #expect(try limit.wait(within: 10) == .exited(0))

        let request = server.client.head("GET", "/livez", [:], bodyCount: nil)
        var taken: [RawConnection] = []
        var waiting: [RawConnection] = []
        // More than there is room for, also once the service has closed what it only needs at its start.
        for _ in 0..<16 {
            let connection = try RawConnection(port: server.port)
            try connection.send(request)
            waiting.append(connection)
        }
        try eventually("some are taken") {
            taken += waiting.filter { $0.hasInput(within: 0) }
            waiting.removeAll { connection in taken.contains { $0 === connection } }
            return server.log.contains("Connections cannot be taken") && !taken.isEmpty
        }
        for connection in taken { #expect(try connection.receive().status == 200) }
        #expect(!waiting.isEmpty)

        // Nothing tells of a try that fails: in half a second there are some.
        let said = complaints(server)
        Thread.sleep(forTimeInterval: 0.5)
        #expect(complaints(server) == said, "it is said once, and not for each try")

        // Whoever goes makes room for one that waits.
        while !waiting.isEmpty {
            taken = []
            try eventually("another is taken") {
                taken = waiting.filter { $0.hasInput(within: 0) }
                return !taken.isEmpty
            }
            for connection in taken { #expect(try connection.receive().status == 200) }
            waiting.removeAll { connection in taken.contains { $0 === connection } }
        }
        #expect(complaints(server) <= 8, "it is said once for each time that none can be taken, not for each try")
        #expect(try server.terminate() == .exited(0))
    }

    private func complaints(_ server: ServerProcess) -> Int {
        server.logLines.count { $0.contains("Connections cannot be taken") }
    }
}
