import Foundation
import Support
import Testing

@Suite("What is not meant for a service")
struct SignalTests {
    @Test("signals that would end it do not")
    func signals() throws {
        let server = try ServerProcess()
        let numbers =
            [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGXFSZ, SIGPIPE]
            + Array(__libc_current_sigrtmin()...__libc_current_sigrtmax())
        for number in numbers {
            server.send(signal: number)
            #expect(try server.client.get("/livez").status == 200, "signal \(number)")
        }
        try eventually("SIGUSR1 is logged") { server.log.contains("SIGUSR1") }
        #expect(server.isRunning)
        try server.client.store("/v1/namespaces/ns", "k", "1")
        #expect(try server.terminate() == .exited(0))
        let next = try server.restarted()
        #expect(try next.client.get("/v1/namespaces/ns/values/k").text == "1")
        #expect(try next.terminate() == .exited(0))
    }

    @Test(
        "standard streams that are missing are /dev/null, and no file of its own",
        arguments: ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]
    )
    func streams(closed: String) throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let port = try freePort()
        let executable = try Command.executable()
        let process = try ChildProcess(
            ["sh", "-c", "exec '\(executable)' serve --port \(port) --data-dir '\(folder.file("data"))' \(closed)"],
            environment: Command.environment(),
            folder: folder.path,
            output: folder.file("out"),
            errors: folder.file("out")
        )
        let http = HTTPClient(port: port)
        try eventually(within: 30, "it serves") { (try? http.get("/livez"))?.status == 200 }
        for stream in 0...2 {
            let target = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process.pid)/fd/\(stream)")
            #expect(target == "/dev/null" || target == folder.file("out"), "\(stream) is \(target)")
        }
        process.send(SIGTERM)
        #expect(try process.wait(within: 20) == .exited(0))
    }

    @Test("a start without descriptors says what to raise", arguments: [12, 20, 26])
    func descriptors(limit: Int) throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let serve = "'\(try Command.executable())' serve --port 0 --data-dir '\(folder.file("data"))'"
        let result = try Command.run(program: ["sh", "-c", "ulimit -n \(limit); exec timeout 3 \(serve)"])
        #expect(result.status == 124 || result.errors.contains("ulimit -n"), "\(result)")
    }

    @Test("a file that may not grow is a fault of the disk, and no end")
    func fileSize() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let port = try freePort()
        let executable = try Command.executable()
        let process = try ChildProcess(
            [
                "bash", "-c",
                "ulimit -f 600; exec '\(executable)' serve --port \(port) --data-dir '\(folder.file("data"))'",
            ],
            environment: Command.environment(),
            folder: folder.path,
            output: "/dev/null",
            errors: "/dev/null"
        )
        let http = HTTPClient(port: port)
        try eventually(within: 30, "it serves") { (try? http.get("/livez"))?.status == 200 }
        let ns = try http.namespace(#"{"durability":"through"}"#)
        let value = (0..<200_000).map { _ in UInt8.random(in: 0...255) }
        var refused: [Int] = []
        for number in 0..<10 {
            let status = try http.put("\(ns)/values/\(number)", bytes: value).status
            if status >= 500 { refused.append(status) }
        }
        #expect(!refused.isEmpty)
        #expect(Set(refused).isSubset(of: [503, 507]))
        #expect(process.poll() == nil)
        #expect(try http.get("/readyz").status == 503)
        try http.store(try http.namespace(#"{"durability":"memory"}"#), "k", "1")
    }
}
