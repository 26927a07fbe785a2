import Glibc
import PantlerModel
import Support
import Testing

extension Heavy {
    @Suite("Stopping")
    struct StopTests {
        @Test("SIGTERM under load ends in 0 within 10 s, and nothing that was answered is lost", arguments: 1...3)
        func underLoad(run: Int) throws {
            let generator = SeededGenerator()
            let server = try ServerProcess()
            let namespaces = try Durability.allCases.filter { $0 != .memory }.map { durability in
                (durability, try server.client.namespace(#"{"durability":"\#(durability.rawValue)"}"#))
            }
            let journals = (0..<6).map { number in
                let (durability, namespace) = namespaces[number % namespaces.count]
                return WriterJournal(namespace: namespace, durability: durability, name: "w\(number)")
            }
            let answered = Shared(0)
            let writing = BackgroundThreads(journals.count) { number in
                var journal = journals[number]
                journal.write(
                    server.client,
                    SeededGenerator(seed: generator.seed &+ UInt64(number)),
                    answered: answered
                )
                return journal
            }
            try eventually("the writers write") { answered.value > 300 }
            #expect(try server.terminate(within: 10) == .exited(0), "\(server.log.suffix(4000))")
            var written = try writing.join()
            let next = try server.restarted()
            for index in written.indices {
                _ = try written[index].check(next.client, committedBefore: nil, "run \(run), \(generator)")
            }
            #expect(try next.terminate() == .exited(0))
        }

        @Test("a stop that comes as soon as the port is open is a clean one")
        func early() throws {
            let folder = try TemporaryDirectory()
            defer { folder.remove() }
            for _ in 0..<15 {
                let port = try freePort()
                let process = try ChildProcess(
                    [
                        Command.executable(), "serve", "--port", "\(port)", "--data-dir", folder.file("data"),
                    ],
                    environment: Command.environment(),
                    folder: folder.path,
                    output: folder.file("log"),
                    errors: folder.file("log")
                )
                // Without a pause: what matters is the first moment.
                let deadline = Deadline(after: 30)
                while (try? RawConnection(port: port)) == nil, process.poll() == nil, !deadline.hasPassed {}
                process.send(SIGTERM)
                #expect(try process.wait(within: 10) == .exited(0), "\(text(of: folder.file("log")))")
            }
        }

        @Test("a request that runs when the stop begins is read to its end and answered")
        func running() throws {
            let server = try ServerProcess()
            let ns = try server.client.namespace(#"{"durability":"through"}"#)
            let connection = try RawConnection(port: server.port)
            let head = server.client.head(
                "PUT",
                "\(ns)/entries/a",
                ["Content-Type": "application/json", "Expect": "100-continue"],
                bodyCount: 11
            )
            try connection.send(head)
            #expect(try connection.receive().status == 100, "the server has read the head")
            try connection.send(#"{"val"#)
            server.send(signal: SIGTERM)
            try eventually("no new connection is taken") { (try? server.client.get("/livez")) == nil }
            #expect(server.isRunning)
            try connection.send(#"ue":1}"#)
            let response = expect(try connection.receive(), 201)
            #expect(response.closes, "\(response)")
            #expect(connection.ends())
            try eventually(within: 10, "the service ends") { !server.isRunning }
            #expect(try server.terminate() == .exited(0))
            let next = try server.restarted()
            #expect(try next.client.get("\(ns)/values/a").text == "1")
            #expect(try next.terminate() == .exited(0))
        }

        @Test("idle connections do not hold up a stop; a request that never ends does for shutdown_timeout")
        func idle() throws {
            let server = try ServerProcess(.init(configuration: "server:\n  shutdown_timeout: 1s\n"))
            let idle = try (0..<20).map { _ in try RawConnection(port: server.port) }
            for connection in idle {
                try connection.send(server.client.head("GET", "/livez", [:], bodyCount: nil))
                expect(try connection.receive(), 200)
            }
            let endless = try RawConnection(port: server.port)
            try endless.send(
                server.client.head(
                    "PUT",
                    "/v1/namespaces/a/entries/a",
                    ["Content-Type": "application/json", "Expect": "100-continue"],
                    bodyCount: 11
                )
            )
            #expect(try endless.receive().status == 100)
            #expect(try server.terminate(within: 10) == .exited(0))
            #expect(idle.allSatisfy { $0.ends() })
        }
    }
}
