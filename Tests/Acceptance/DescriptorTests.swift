import Foundation
import Glibc
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

    @Test("takes as many as the system lets it have, and says where that is too few for its connections")
    func raised() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let log = "\(folder.path)/log"
        // prlimit becomes the service.
        let process = try ChildProcess(
            ["prlimit", "--nofile=300:2000", Command.executable(), "serve", "--port", "0", "--data-dir", "data"],
            environment: Command.environment(),
            folder: folder.path,
            output: log,
            errors: log
        )
        try eventually("it serves") { try String(contentsOfFile: log, encoding: .utf8).contains("Serving") }
        let limits = try String(contentsOfFile: "/proc/\(process.pid)/limits", encoding: .utf8)
        let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max open files") })
        #expect(line.split(separator: " ").compactMap { Int($0) } == [2000, 2000])
        let said = try String(contentsOfFile: log, encoding: .utf8)
        #expect(said.contains("limits.connections is 10000, but this process may have 2000 files open"))
        #expect(said.contains("takes 1744 connections"))
        process.send(SIGTERM)
        #expect(try process.wait(within: 20) == .exited(0))
    }

    @Test("takes fewer connections where it has to, and leaves the store what it needs")
    func fewer() throws {
        let server = try ServerProcess()
        let limit = try ChildProcess(
            ["prlimit", "--pid", "\(server.pid)", "--nofile=400"],
            environment: Command.environment(),
            folder: server.folder.path,
            output: "/dev/null",
            errors: "/dev/null"
        )
        #expect(try limit.wait(within: 10) == .exited(0))
        server.send(signal: SIGHUP)
        try eventually("the new number holds") { try server.metrics().sum("pantler_connections_limit") == 144 }
        do {
            let open = try (0..<390).map { _ in try RawConnection(port: server.port) }
            // Those over the bound are told so. All are taken: none waits for a descriptor.
            for connection in open.suffix(150) {
                let answer = try connection.receive()
                expect(answer, 503, "overloaded")
                #expect(answer["Retry-After"] == "1")
            }
            #expect(!server.log.contains("Connections cannot be taken"))
        }
        try eventually("there is room again") { (try? server.client.get("/livez").status) == 200 }
        let ns = try server.client.namespace(#"{"durability":"through"}"#)
        try server.client.store(ns, "a")
        #expect(try server.metrics().sum("pantler_connections_refused_total") >= 150)
        #expect(try server.terminate() == .exited(0))
    }

    private func complaints(_ server: ServerProcess) -> Int {
        server.logLines.count { $0.contains("Connections cannot be taken") }
    }
}
