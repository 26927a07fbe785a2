import Foundation
import Support
import Testing

@Suite("Sockets that are handed over")
struct HandOverTests {
    private let folder: TemporaryDirectory
    private var socket: String { folder.file("pantler.sock") }

    init() throws { folder = try TemporaryDirectory() }

    /// A service manager in small: it holds the sockets, starts the service with them, and once more after each SIGUSR1, when the one before
    /// has ended. Says what happens on standard output. What it runs is run in its place by a shell, since LISTEN_PID has to be the service's own.
    private static let manager = """
        import os, signal, socket, subprocess, sys
        port, path, log, command = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(("127.0.0.1", port))
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(path)
        sockets = [tcp, unix]
        for each in sockets: each.listen(4096)
        # To where no descriptor from 3 on is in the way.
        kept = [os.dup2(each.fileno(), 100 + number) for number, each in enumerate(sockets)]
        for each in sockets: each.close()
        def hand_over():
            for number, descriptor in enumerate(kept): os.dup2(descriptor, 3 + number, inheritable=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
        def unblock_and_hand_over():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1, signal.SIGTERM])
            hand_over()
        def start():
            environment = dict(os.environ, LISTEN_FDS="2", LISTEN_FDNAMES="tcp:unix")
            shell = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"'] + command
            with open(log, "a") as out:
                child = subprocess.Popen(shell, env=environment, close_fds=False, preexec_fn=unblock_and_hand_over, stdout=out, stderr=out)
            print("started", child.pid, flush=True)
            return child
        child = start()
        while True:
            number = signal.sigwait([signal.SIGUSR1, signal.SIGTERM])
            child.send_signal(signal.SIGTERM)
            print("ended", child.wait(), flush=True)
            if number == signal.SIGTERM: break
            child = start()
        """

    private struct Manager {
        let process: ChildProcess
        let port: UInt16
        let output: String
        let logFile: String

        var lines: [Substring] { text(of: output).split(separator: "\n") }
        var log: String { text(of: logFile) }
        /// How often the service has come to serve.
        var starts: Int { log.split(separator: "\n").count { $0.contains("Serving") } }
    }

    private func manage(_ configuration: (UInt16) -> String) throws -> Manager {
        let port = try freePort()
        let (output, log) = (folder.file("manager"), folder.file("log"))
        let service = try StartedService.arguments(configuration(port), in: folder)
        let process = try ChildProcess(
            ["python3", "-u", "-c", Self.manager, "\(port)", socket, log] + service,
            environment: Command.environment(),
            folder: folder.path,
            output: output,
            errors: folder.file("manager.errors")
        )
        return Manager(process: process, port: port, output: output, logFile: log)
    }

    @Test("under load, two restarts refuse nothing and lose nothing, over TCP and over the Unix socket")
    func restarts() throws {
        defer { folder.remove() }
        let socket = socket
        let manager = try manage { "server:\n  port: \($0)\n  socket: \(socket)\n" }
        try eventually(within: 30, "it serves\n\(manager.log)") { manager.starts == 1 }
        let port = manager.port
        let isOver = Shared(false)
        let failures = Shared<[String]>([])
        let served = Shared(0)
        let load = Thread {
            do {
                _ = try onThreads(8) { number in
                    var count = 0
                    while !isOver.value {
                        count += 1
                        do {
                            // Every other caller by the other socket, and a new connection for each request.
                            let connection =
                                number % 2 == 0 ? try RawConnection(port: port) : try RawConnection(unix: socket)
                            let response = try request(connection, "/v1/namespaces/none/values/k")
                            if response.status != 404 { failures.update { $0.append("\(response)") } }
                            served.update { $0 += 1 }
                        } catch {
                            let failure = "\(error) (\(number): request \(count))"
                            failures.update { $0.append(failure) }
                        }
                    }
                }
            } catch {
                failures.update { $0.append("\(error)") }
            }
            isOver.value = false
        }
        load.start()
        for restart in 2...3 {
            let before = served.value
            try eventually(within: 30, "there is load") { served.value > before + 200 }
            manager.process.send(SIGUSR1)
            try eventually(within: 60, "it serves again\n\(manager.log)") { manager.starts == restart }
        }
        let before = served.value
        try eventually(within: 30, "there is load") { served.value > before + 200 }
        isOver.value = true
        try eventually(within: 60, "the load ends") { !isOver.value }
        #expect(
            failures.value.isEmpty,
            "\(failures.value.count) of \(served.value): \(failures.value.prefix(5))\n\(manager.log)"
        )
        manager.process.send(SIGTERM)
        #expect(try manager.process.wait(within: 30) == .exited(0))
        #expect(manager.lines.filter { $0 == "ended 0" }.count == 3, "\(manager.lines)")
        #expect(FileManager.default.fileExists(atPath: socket), "the socket's file is not the service's to remove")
    }

    @Test("what comes while no service is there waits for the next one")
    func waits() throws {
        defer { folder.remove() }
        let manager = try manage { "server:\n  port: \($0)\n  socket: \(socket)\n" }
        try eventually(within: 30, "it serves\n\(manager.log)") { manager.starts == 1 }
        let pid = try #require(manager.lines.first?.split(separator: " ").last.flatMap { Int32($0) })
        // Not by the manager, so that nobody starts another one.
        #expect(kill(pid, SIGTERM) == 0)
        try eventually(within: 30, "it stops\n\(manager.log)") { manager.log.contains("Stopped") }
        let connection = try RawConnection(port: manager.port)
        let local = try RawConnection(unix: socket)
        for connection in [connection, local] { try connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") }
        manager.process.send(SIGUSR1)
        #expect(try connection.receive().status == 200)
        #expect(try local.receive().status == 200)
        manager.process.send(SIGTERM)
        #expect(try manager.process.wait(within: 30) == .exited(0))
    }

    @Test("one that no listener names is an error; a listener without one listens as ever; any port is matched by 0")
    func matching() throws {
        defer { folder.remove() }
        let unnamed = try manage { _ in "server:\n  port: 0\n" }
        try eventually(within: 30, "it says so\n\(unnamed.log)") {
            unnamed.log.contains(
                "unix:\(socket) ('unix') was handed over (LISTEN_FDS), and no listener has that address"
            )
        }
        unnamed.process.send(SIGTERM)
        #expect(try unnamed.process.wait(within: 30) == .exited(0))
        #expect(unnamed.lines.contains("ended 1"))
        unlink(socket)
        unlink(unnamed.logFile)
        let own = try freePort()
        let manager = try manage { _ in
            "server:\n  listen: [{port: 0}, {socket: \(socket)}, {port: \(own), address: 127.0.0.2}]\n"
        }
        try eventually(within: 30, "it serves\n\(manager.log)") { manager.starts == 1 }
        #expect(manager.log.contains("http://127.0.0.1:\(manager.port)"), "\(manager.log)")
        #expect(try request(RawConnection(port: manager.port)).status == 200)
        let other = try Command.run(program: [
            "curl", "-sS", "http://127.0.0.2:\(own)/livez", "-o", "/dev/null", "-w", "%{http_code}",
        ])
        #expect(other.output == "200", "\(other)")
        manager.process.send(SIGTERM)
        #expect(try manager.process.wait(within: 30) == .exited(0))
    }

    @Test("variables that are another process's mean nothing")
    func others() throws {
        defer { folder.remove() }
        let service = try StartedService(
            "server:\n  port: 0\n",
            in: folder,
            environment: ["LISTEN_PID": "1", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c"]
        )
        #expect(try request(RawConnection(port: service.port(0))).status == 200)
        #expect(try service.terminate() == .exited(0))
    }

    @Test(
        "systemd's own way of handing over",
        .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/systemd-socket-activate"))
    )
    func systemd() throws {
        defer { folder.remove() }
        let port = try freePort()
        let log = folder.file("log")
        let service = try StartedService.arguments("server:\n  port: \(port)\n", in: folder)
        let process = try ChildProcess(
            ["/usr/bin/systemd-socket-activate", "-l", "127.0.0.1:\(port)"] + service,
            environment: Command.environment(),
            folder: folder.path,
            output: log,
            errors: log
        )
        defer { process.send(SIGKILL) }
        try eventually("systemd listens\n\(text(of: log))") { (try? RawConnection(port: port)) != nil }
        #expect(try request(RawConnection(port: port)).status == 200)
        process.send(SIGTERM)
        #expect(try process.wait(within: 30) == .exited(0))
    }
}
