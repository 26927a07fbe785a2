import Foundation
import Support
import Testing

@Suite("The service under systemd")
struct ServiceManagerTests {
    @Test("it says when it serves, that it lives, and when it stops; its log is the journal's; debug tells no setting")
    func notify() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let socket = folder.file("notify")
        let heard = folder.file("heard")
        // systemd's end of it: a datagram socket whose messages are written down, one a line.
        let listener = try ChildProcess(
            [
                "python3", "-u", "-c",
                """
                import socket, sys
                s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                s.bind(sys.argv[1])
                print("listening")
                while True: print(s.recv(4096).decode())
                """, socket,
            ],
            environment: Command.environment(),
            folder: folder.path,
            output: heard,
            errors: folder.file("errors")
        )
        defer { listener.send(SIGKILL) }
        func lines() -> [Substring] { text(of: heard).split(separator: "\n") }
        try eventually("the listener listens") { lines() == ["listening"] }
        let server = try ServerProcess(
            ServerProcess.Options(
                environment: [
                    "NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "40000", "PANTLER_LOG_LEVEL": "debug",
                    "PANTLER_SERVER_ALLOWED_HOSTS": "secret.example",
                ]
            )
        )
        try eventually("it is ready, and lives") {
            lines().contains("READY=1") && lines().count { $0 == "WATCHDOG=1" } > 2
        }
        #expect(try server.terminate() == .exited(0))
        try eventually("it stops") { lines().contains("STOPPING=1") }
        #expect(lines().filter { $0 == "READY=1" }.count == 1)
        #expect(!server.log.contains("secret.example"))
    }

    @Test("a manager that takes nothing more does not keep the service from ending")
    func unread() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let socket = folder.file("notify")
        let listener = try ChildProcess(
            [
                "python3", "-u", "-c",
                """
                import socket, sys, time
                s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                s.bind(sys.argv[1])
                full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                full.setblocking(False)
                try:
                    while True: full.sendto(b"x", sys.argv[1])
                except BlockingIOError: print("full")
                time.sleep(600)
                """, socket,
            ],
            environment: Command.environment(),
            folder: folder.path,
            output: folder.file("heard"),
            errors: folder.file("errors")
        )
        defer { listener.send(SIGKILL) }
        try eventually("the socket is full") { text(of: folder.file("heard")) == "full\n" }
        let server = try ServerProcess(.init(environment: ["NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "40000"]))
        #expect(try server.terminate() == .exited(0))
    }

    @Test("an address of IPv6 is logged as a URL has it")
    func brackets() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let process = try ChildProcess(
            [
                try Command.executable(), "serve", "--host", "::1", "--port", "0", "--data-dir", folder.file("data"),
            ],
            environment: Command.environment(),
            folder: folder.path,
            output: folder.file("out"),
            errors: folder.file("errors")
        )
        defer { process.send(SIGKILL) }
        try eventually("it serves, or cannot") { !text(of: folder.file("errors")).isEmpty }
        #expect(text(of: folder.file("errors")).contains("[::1]:"))
    }
}
