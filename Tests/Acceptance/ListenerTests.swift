import Foundation
import PantlerModel
import Support
import Testing

@Suite("Where the service listens")
struct ListenerTests {
    private let folder: TemporaryDirectory
    private var socket: String { folder.file("pantler.sock") }

    init() throws { folder = try TemporaryDirectory() }

    private func onSocket(_ more: String = "") -> String { "server:\n  port: null\n  socket: \(socket)\n\(more)" }

    @Test(
        "a Unix socket has its mode and group, is reached by curl and by the command, by any Host, and goes at the stop"
    )
    func unixSocket() throws {
        defer { folder.remove() }
        let service = try StartedService(onSocket("  socket_mode: 0640\n  socket_group: \(getegid())\n"), in: folder)
        #expect(service.places == ["unix:\(socket)"])
        let attributes = try FileManager.default.attributesOfItem(atPath: socket)
        #expect(attributes[.posixPermissions] as? Int == 0o640)
        let curl = ["curl", "-sS", "--unix-socket", socket]
        let url = "http://any.name.at.all/v1/namespaces/shop/values/k"
        let put = try Command.run(
            program: curl + ["-X", "PUT", "-d", "5", "-H", "Content-Type: application/json", url]
        )
        #expect(put.status == 0, "\(put)")
        #expect(try Command.run(program: curl + [url]).output == "5")
        for address in ["unix:\(socket)", "unix://\(socket)"] {
            let got = try Command.run(["-n", "shop", "get", "k"], url: address)
            #expect(got.status == 0 && got.output == "5", "\(got)")
        }
        #expect(try Command.run(["--url", "unix:\(socket)", "stats"]).status == 0)
        let bench = try Command.run(["bench", "get", "--requests", "100", "--connections", "2"], url: "unix:\(socket)")
        #expect(bench.status == 0, "\(bench)")
        let kilobytes = String(repeating: "x", count: 300_000)
        #expect(
            try Command.run(["-n", "shop", "set", "large", "-"], url: "unix:\(socket)", input: kilobytes).status == 0
        )
        #expect(try Command.run(["-n", "shop", "get", "large"], url: "unix:\(socket)").output.utf8.count >= 300_000)
        #expect(try service.terminate() == .exited(0))
        #expect(!FileManager.default.fileExists(atPath: socket))
        let missing = try Command.run(["stats"], url: "unix:\(socket)")
        #expect(missing.status == 6 && missing.errors.contains("unix:\(socket)"), "\(missing)")
    }

    @Test("a socket that a killed service has left is taken over; a living one's is refused, and goes on")
    func takeOver() throws {
        defer { folder.remove() }
        let first = try StartedService(onSocket(), in: folder)
        let other = try TemporaryDirectory()
        defer { other.remove() }
        let refused = try StartedService.refused(onSocket(), in: other)
        #expect(refused.status == 1, "\(refused)")
        #expect(refused.errors.contains("Another process listens at \(socket)"), "\(refused)")
        #expect(try request(RawConnection(unix: socket)).status == 200)
        try first.kill9()
        #expect(FileManager.default.fileExists(atPath: socket))
        let second = try StartedService(onSocket(), in: folder)
        #expect(try request(RawConnection(unix: socket)).status == 200)
        #expect(try second.terminate() == .exited(0))
    }

    @Test("what is no place for a socket is said in a sentence")
    func badPlaces() throws {
        defer { folder.remove() }
        try folder.write("mine", to: "file")
        let cases = [
            (folder.file("file"), "is no socket"), (folder.file("none/s"), "is not there"),
            (folder.file(String(repeating: "s", count: 108)), "107"),
        ]
        for (path, sentence) in cases {
            let refused = try StartedService.refused("", in: folder, flags: ["--port", "null", "--socket", path])
            #expect(refused.status == 1 && refused.errors.contains(sentence), "\(path): \(refused)")
        }
        let group = try StartedService.refused(onSocket("  socket_group: no-such-group\n"), in: folder)
        #expect(group.status == 1 && group.errors.contains("There is no group 'no-such-group'"), "\(group)")
        #expect(text(of: folder.file("file")) == "mine")
    }

    @Test("several listeners at once, of a name both families, by the same port")
    func several() throws {
        defer { folder.remove() }
        let service = try StartedService(
            """
            server:
              listen:
                - {address: localhost, port: 0}
                - {socket: \(socket), mode: "0600"}
                - {address: 127.0.0.1, port: 0, tokens: true}
            """,
            in: folder
        )
        #expect(service.places.count == 3, "\(service.log)")
        #expect(service.log.contains("none exists"), "nobody can call at the third")
        let port = try service.port(0)
        #expect(try request(RawConnection(port: port)).status == 200)
        #expect(try request(RawConnection(unix: socket)).status == 200)
        #expect(try request(RawConnection(port: service.port(2))).status == 200)
        for address in ["127.0.0.1", "[::1]"] {
            let got = try Command.run(program: [
                "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://\(address):\(port)/livez",
            ])
            #expect(got.output == "200", "\(address): \(got)")
        }
        // A page's own name is refused where a page can get to, and a call without a token where one is needed.
        #expect(try request(RawConnection(port: port), "/v1/stats", host: "evil.example").status == 421)
        #expect(try request(RawConnection(unix: socket), "/v1/stats", host: "evil.example").status == 200)
        #expect(try service.terminate() == .exited(0))
    }

    @Test("nobody is let in from elsewhere without TLS and a token, unless it is said in so many words")
    func refusals() throws {
        defer { folder.remove() }
        let open = "server:\n  host: 0.0.0.0\n  port: 0\n"
        let bare = try StartedService.refused(open, in: folder)
        #expect(bare.status == 2 && bare.errors.contains("TLS is missing"), "\(bare)")
        #expect(bare.errors.contains("plaintext: true") && bare.errors.contains("server.host (0.0.0.0:0)"), "\(bare)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("data")), "nothing was made")
        for host in ["::", "*", "192.0.2.1", "some.name"] {
            let refused = try StartedService.refused("", in: folder, flags: ["--host", host, "--port", "0"])
            #expect(refused.status == 2 && refused.errors.contains("TLS is missing"), "\(host): \(refused)")
        }
        let noFiles = try StartedService.refused(open + "  tls: true\n", in: folder)
        #expect(noFiles.status == 2 && noFiles.errors.contains("tls.certificate and tls.key are missing"), "\(noFiles)")
        let nobody = try StartedService.refused(open + "  tls: true\n  tokens: false\n", in: folder)
        #expect(nobody.status == 2 && nobody.errors.contains("it has `tokens: false`"), "\(nobody)")
        let nowhere = try StartedService.refused("server:\n  port: null\n", in: folder)
        #expect(nowhere.status == 2 && nowhere.errors.contains("Nothing says where to listen"), "\(nowhere)")
        let flags = ["--tls-certificate", folder.file("cert.pem"), "--tls-key", folder.file("key.pem")]
        let noToken = try StartedService.refused(open, in: folder, flags: flags)
        #expect(noToken.status == 2, "\(noToken)")
        #expect(
            noToken.errors.contains("tokens are missing") && noToken.errors.contains("pantler token create"),
            "\(noToken)"
        )
    }

    @Test("plaintext: true lets others in, with a token, and a warning where none exists; with one there is none")
    func plaintext() throws {
        defer { folder.remove() }
        let open = "server:\n  host: 0.0.0.0\n  port: 0\n"
        let service = try StartedService(open, in: folder, flags: ["--plaintext"])
        #expect(service.log.contains("warning") && service.log.contains("none exists"), "\(service.log)")
        let port = try service.port(0)
        #expect(try request(RawConnection(port: port)).status == 200)
        #expect(try service.terminate() == .exited(0))
        let made = try Command.run(["token", "create", "--role", "admin", "--data-dir", folder.file("data")])
        #expect(made.status == 0, "\(made)")
        let second = try StartedService(open, in: folder, flags: ["--plaintext"])
        #expect(!second.log.contains("warning"), "\(second.log)")
        #expect(try second.terminate() == .exited(0))
    }

    @Test("the configuration's tokens are read at the start and at SIGHUP; a bad file leaves the old ones")
    func tokensFile() throws {
        defer { folder.remove() }
        let token = try Command.run(["token", "generate"]).output
        let file = try folder.write(token, to: "first-token")
        #expect(chmod(file, 0o600) == 0)
        let open = "server:\n  host: 0.0.0.0\n  port: 0\n  plaintext: true\n"
        let bad = try folder.write("pt_x\n", to: "bad")
        let refused = try StartedService.refused(open, in: folder, flags: ["--tokens-file", bad])
        #expect(refused.status == 2 && refused.errors.contains(bad), "\(refused)")
        let service = try StartedService(open, in: folder, flags: ["--tokens-file", file])
        #expect(!service.log.contains("warning"), "\(service.log)")
        try folder.write("nonsense: true\n", to: "first-token")
        service.process.send(SIGHUP)
        try eventually("the fault is logged\n\(service.log)") { service.log.contains("Not reloaded") }
        try folder.write("[]\n", to: "first-token")
        service.process.send(SIGHUP)
        try eventually("it is read\n\(service.log)") { service.log.contains("Reloaded") }
        #expect(try service.terminate() == .exited(0))
    }

    @Test("settings beside server.listen are said to have no effect")
    func doubts() throws {
        defer { folder.remove() }
        let service = try StartedService(
            "server:\n  port: 1\n  tls: true\n  listen: [{port: 0}]\n",
            in: folder
        )
        #expect(service.log.contains("server.port, server.tls beside it have no effect"), "\(service.log)")
        #expect(try service.terminate() == .exited(0))
    }

    @Test(
        "shutdown_delay: not ready at once, but served; then the drain; a second SIGTERM ends it",
        arguments: [false, true]
    )
    func delay(isEnded: Bool) throws {
        defer { folder.remove() }
        let seconds = isEnded ? 60 : 2
        let service = try StartedService("server:\n  port: 0\n  shutdown_delay: \(seconds)s\n", in: folder)
        let port = try service.port(0)
        #expect(try request(RawConnection(port: port), "/readyz").status == 200)
        let began = monotonicNanoseconds()
        service.process.send(SIGTERM)
        try eventually("it is not ready") { try request(RawConnection(port: port), "/readyz").status == 503 }
        #expect(try request(RawConnection(port: port), "/readyz").json["status"].string == "stopping")
        #expect(try request(RawConnection(port: port), "/v1/stats").status == 200)
        if isEnded { service.process.send(SIGTERM) }
        #expect(try service.process.wait(within: 30) == .exited(0))
        let took = Double(monotonicNanoseconds() - began) / 1e9
        #expect(isEnded ? took < 20 : took >= 1.9, "\(took) s")
    }

    @Test("behind nginx, over the socket", .enabled(if: nginxExecutable != nil))
    func nginx() throws {
        let executable = try #require(nginxExecutable)
        defer { folder.remove() }
        let service = try StartedService(onSocket(), in: folder)
        let port = try freePort()
        let configuration = try folder.write(
            """
            daemon off; master_process off; pid \(folder.file("nginx.pid")); error_log \(folder.file("nginx.log"));
            events {}
            http {
              access_log off; client_body_temp_path \(folder.file("body")); proxy_temp_path \(folder.file("proxy"));
              fastcgi_temp_path \(folder.file("fastcgi")); uwsgi_temp_path \(folder.file("uwsgi")); scgi_temp_path \(folder.file("scgi"));
              upstream pantler { server unix:\(socket); keepalive 4; }
              server {
                listen 127.0.0.1:\(port);
                location / { proxy_pass http://pantler; proxy_http_version 1.1; proxy_set_header Connection ""; }
              }
            }
            """,
            to: "nginx.conf"
        )
        let nginx = try ChildProcess(
            [executable, "-c", configuration, "-p", folder.path],
            environment: Command.environment(),
            folder: folder.path,
            output: folder.file("nginx.out"),
            errors: folder.file("nginx.out")
        )
        defer { nginx.send(SIGKILL) }
        let http = HTTPClient(port: port)
        try eventually("nginx serves\n\(text(of: folder.file("nginx.out")))") {
            (try? http.get("/livez"))?.status == 200
        }
        for number in 0..<100 {
            #expect(try http.put("/v1/namespaces/n/values/\(number)", "\(number)").status == 201)
            #expect(try http.get("/v1/namespaces/n/values/\(number)").text == "\(number)")
        }
        #expect(try service.terminate() == .exited(0))
    }
}

/// Where nginx is; `nil` where there is none. scripts/test has one.
private let nginxExecutable: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":") + ["/usr/sbin"]
    return folders.map { "\($0)/nginx" }.first { FileManager.default.isExecutableFile(atPath: $0) }
}()
