import Glibc
import Support
import Testing

@Suite("TLS, as real clients speak it")
struct TLSTests {
    private let authority: CertificateAuthority

    init() throws { authority = try CertificateAuthority() }

    private func start(_ key: CertificateAuthority.Key = .p256, _ configuration: String = "") throws -> ServerProcess {
        try ServerProcess(.init(configuration: configuration, authority: authority, serverKey: key))
    }

    /// What `openssl s_client` says of a handshake.
    private func client(_ server: ServerProcess, _ arguments: [String], input: String? = nil) throws -> String {
        let result = try Command.run(
            program: ["openssl", "s_client", "-connect", "127.0.0.1:\(server.port)", "-CAfile", authority.certificate]
                + arguments,
            input: input
        )
        return result.output + result.errors
    }

    // MARK: What is spoken

    @Test("TLS 1.2 and 1.3 are spoken, and no older version")
    func versions() throws {
        let server = try start()
        for version in ["1.2", "1.3"] {
            let said = try client(server, ["-tls\(version.replacing(".", with: "_"))"])
            #expect(said.contains("New, TLSv\(version)"), "\(said)")
            #expect(said.contains("Verify return code: 0 (ok)"), "\(said)")
        }
        for version in ["-tls1_1", "-tls1"] {
            let said = try client(server, [version, "-cipher", "DEFAULT:@SECLEVEL=0"])
            #expect(said.contains("alert protocol version"), "\(said)")
        }
        #expect(try server.terminate() == .exited(0))
    }

    @Test(
        "in TLS 1.2, only suites with forward secrecy that authenticate what they encrypt",
        arguments: [("ECDSA", .p256), ("RSA", .rsa2048)] as [(String, CertificateAuthority.Key)]
    )
    func ciphers(name: String, key: CertificateAuthority.Key) throws {
        let server = try start(key)
        func agrees(_ cipher: String) throws -> Bool {
            let said = try client(server, ["-tls1_2", "-cipher", "\(cipher):@SECLEVEL=0"])
            return said.contains("Cipher is \(cipher)")
        }
        for cipher in ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"] {
            #expect(try agrees("ECDHE-\(name)-\(cipher)"), "\(cipher)")
        }
        let others = [
            "ECDHE-\(name)-AES128-SHA", "ECDHE-\(name)-AES256-SHA384", "AES128-GCM-SHA256", "AES256-SHA",
            "DHE-RSA-AES128-GCM-SHA256",
        ]
        for cipher in others { #expect(try !agrees(cipher), "\(cipher)") }
        for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
            #expect(try client(server, ["-tls1_3", "-ciphersuites", suite]).contains("Cipher is \(suite)"), "\(suite)")
        }
        #expect(try server.terminate() == .exited(0))
    }

    @Test("HTTP/1.1 is agreed on, also beside others, and nothing else")
    func protocols() throws {
        let server = try start()
        #expect(try client(server, ["-alpn", "h2,http/1.1"]).contains("ALPN protocol: http/1.1"))
        #expect(try client(server, []).contains("No ALPN negotiated"))
        for version in ["-tls1_2", "-tls1_3"] {
            let said = try client(server, [version, "-alpn", "h2"])
            #expect(said.contains("no application protocol"), "\(said)")
        }
        #expect(try server.terminate() == .exited(0))
    }

    @Test("nobody renegotiates")
    func renegotiation() throws {
        let server = try start()
        let said = try client(server, ["-tls1_2"], input: "R\n")
        #expect(said.contains("RENEGOTIATING"), "\(said)")
        #expect(said.contains("no renegotiation") || said.contains("unexpected eof"), "\(said)")
        #expect(try server.terminate() == .exited(0))
    }

    @Test("a session is resumed, with clients' certificates asked for or not", arguments: [false, true])
    func resumption(asks: Bool) throws {
        let server = try start(.p256, asks ? "tls: {client_ca: \(authority.certificate)}" : "")
        let folder = authority.folder
        let session = folder.file("session")
        let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        let first = try client(server, ["-tls1_2", "-sess_out", session, "-ign_eof"], input: request)
        #expect(first.contains("New, TLSv1.2"), "\(first)")
        let second = try client(server, ["-tls1_2", "-sess_in", session, "-ign_eof"], input: request)
        #expect(second.contains("Reused, TLSv1.2"), "\(second)")
        #expect(second.contains("HTTP/1.1 200"), "\(second)")
        #expect(try server.terminate() == .exited(0))
    }

    // MARK: Clients

    private func run(_ program: [String]) throws -> CommandResult { try Command.run(program: program, within: 60) }

    @Test("curl puts and gets, and trusts no other authority")
    func curl() throws {
        let server = try start()
        let url = "https://localhost:\(server.port)/v1/namespaces/ns/values/a"
        let trusting = ["curl", "-sS", "--cacert", authority.certificate]
        let put = try run(
            trusting + ["-X", "PUT", "--data-binary", "over TLS", "-o", "/dev/null", "-w", "%{http_code}", url]
        )
        #expect(put.output == "201", "\(put)")
        let get = try run(trusting + [url, url])
        #expect(get.output == "over TLSover TLS", "\(get)")
        let other = try CertificateAuthority("other")
        #expect(try run(["curl", "-sS", "--cacert", other.certificate, url]).status == 60)
        let plain = try run(["curl", "-sS", "-w", "%{http_code}", "http://localhost:\(server.port)/livez"])
        #expect(plain.output.contains("https://") && plain.output.hasSuffix("400"), "\(plain)")
        #expect(try server.terminate() == .exited(0))
    }

    @Test("Python's http.client puts and gets over one connection")
    func python() throws {
        let server = try start()
        let script = """
            import http.client, ssl, sys
            context = ssl.create_default_context(cafile=sys.argv[2])
            connection = http.client.HTTPSConnection("localhost", int(sys.argv[1]), context=context)
            for number in range(20):
                connection.request("PUT", "/v1/namespaces/ns/values/k", str(number) * 100000)
                assert connection.getresponse().read() is not None
                connection.request("GET", "/v1/namespaces/ns/values/k")
                assert connection.getresponse().read() == str(number).encode() * 100000
            print(connection.sock.version(), connection.sock.cipher()[0])
            """
        let result = try run(["python3", "-c", script, "\(server.port)", authority.certificate])
        #expect(result.output.hasPrefix("TLSv1.3 TLS_"), "\(result)")
        #expect(try server.terminate() == .exited(0))
    }

    @Test("Java's HttpClient, which would rather speak HTTP/2, puts and gets")
    func java() throws {
        let server = try start()
        let program = """
            import java.io.FileInputStream;
            import java.net.URI;
            import java.net.http.*;
            import java.security.KeyStore;
            import java.security.cert.CertificateFactory;
            import javax.net.ssl.*;

            public class Call {
                public static void main(String[] words) throws Exception {
                    var authority = CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(words[1]));
                    var store = KeyStore.getInstance(KeyStore.getDefaultType());
                    store.load(null);
                    store.setCertificateEntry("authority", authority);
                    var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
                    trust.init(store);
                    var context = SSLContext.getInstance("TLS");
                    context.init(null, trust.getTrustManagers(), null);
                    var client = HttpClient.newBuilder().sslContext(context).build();
                    var uri = URI.create("https://localhost:" + words[0] + "/v1/namespaces/ns/values/a");
                    var put = HttpRequest.newBuilder(uri).PUT(HttpRequest.BodyPublishers.ofString("from Java")).build();
                    System.out.println(client.send(put, HttpResponse.BodyHandlers.ofString()).statusCode());
                    var answer = client.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString());
                    System.out.println(answer.version() + " " + answer.body());
                }
            }
            """
        let path = try authority.folder.write(Array(program.utf8), to: "Call.java")
        let result = try run(["java", path, "\(server.port)", authority.certificate])
        #expect(result.output == "201\nHTTP_1_1 from Java\n", "\(result)")
        #expect(try server.terminate() == .exited(0))
    }

    @Test("a client's certificate is taken where one of the clients' authority has signed it")
    func clientCertificates() throws {
        let clients = try CertificateAuthority("clients")
        let server = try start(.p256, "tls: {client_ca: \(clients.certificate)}")
        func status(_ identity: CertificateAuthority.Identity?) throws -> CommandResult {
            let shown = identity.map { ["--cert", $0.certificate, "--key", $0.key] } ?? []
            return try run(
                ["curl", "-sS", "--cacert", authority.certificate] + shown
                    + ["-o", "/dev/null", "-w", "%{http_code}", "https://localhost:\(server.port)/livez"]
            )
        }
        #expect(try status(nil).output == "200")
        #expect(try status(clients.sign("client")).output == "200")
        #expect(try status(authority.sign("stranger")).status != 0)
        #expect(try status(clients.sign("old", days: -1)).status != 0)
        #expect(try server.metrics().sum("pantler_tls_handshakes_total", ["outcome": "failed"]) == 2)
        #expect(try server.terminate() == .exited(0))
    }

    // MARK: Files

    @Test("new files are taken at SIGHUP, and no request fails meanwhile")
    func rotation() throws {
        let server = try start()
        let isOver = Shared(false)
        let failures = Shared<[String]>([])
        let answered = Shared(0)
        /// Requests, over a connection that is kept or a new one each.
        @Sendable func load(keeps: Bool) {
            var client = server.client
            while !isOver.value {
                do {
                    if !keeps { client = server.client }
                    let status = try client.get("/livez").status
                    if status != 200 { failures.update { $0.append("\(status)") } }
                    answered.update { $0 += 1 }
                } catch {
                    failures.update { $0.append("\(error)") }
                }
            }
        }
        let threads = BackgroundThreads(3) { load(keeps: $0 == 0) }
        for round in 1...3 {
            let before = answered.value
            _ = try authority.sign(server.identityName, round == 2 ? .rsa2048 : .p256, subject: "round \(round)")
            server.send(signal: SIGHUP)
            try eventually("the new certificate is shown") {
                try client(server, []).contains("subject=CN = round \(round)")
            }
            try eventually("requests go on") { answered.value > before + 20 }
        }
        isOver.value = true
        _ = try threads.join()
        #expect(failures.value.isEmpty, "\(failures.value.prefix(5))")
        #expect(try server.terminate() == .exited(0))
    }

    @Test("bad files are told of, and those from before stay in use")
    func badFiles() throws {
        let server = try start()
        let identity = try #require(server.identity)
        let key = contents(of: identity.key)
        _ = try authority.folder.write(Array("no key\n".utf8), to: "\(server.identityName).key")
        server.send(signal: SIGHUP)
        try eventually("the log says why") {
            server.log.contains("tls.key: \(identity.key) holds no private key in PEM")
        }
        #expect(try server.client.get("/livez").status == 200)
        #expect(try server.metrics().sum("pantler_config_last_reload_successful") == 0)
        _ = try authority.folder.write(key, to: "\(server.identityName).key")
        server.send(signal: SIGHUP)
        try eventually("it holds again") { try server.metrics().sum("pantler_config_last_reload_successful") == 1 }
        #expect(try server.terminate() == .exited(0))
    }

    @Test("the service does not start with bad files, and says which and why")
    func badStart() throws {
        let identity = try authority.sign()
        let other = try authority.sign("other")
        let folder = try TemporaryDirectory()
        func start(_ certificate: String, _ key: String) throws -> CommandResult {
            try Command.run(
                ["serve", "--port", "\(freePort())", "--data-dir", folder.file("data")],
                environment: [
                    "PANTLER_SERVER_TLS": "true", "PANTLER_TLS_CERTIFICATE": certificate, "PANTLER_TLS_KEY": key,
                ]
            )
        }
        let missing = try start("/nowhere/cert.pem", identity.key)
        #expect(missing.status != 0)
        #expect(
            missing.errors.contains("tls.certificate: /nowhere/cert.pem cannot be opened: no such file"),
            "\(missing)"
        )
        let wrong = try start(identity.certificate, other.key)
        #expect(wrong.status != 0)
        #expect(
            wrong.errors.contains("tls.key: \(other.key) is not the key of the certificate in \(identity.certificate)"),
            "\(wrong)"
        )
    }

    @Test("an expired certificate is warned of, and its expiry is a metric")
    func expiry() throws {
        let server = try start()
        let expires = try server.metrics().sum("pantler_tls_certificate_expires_seconds")
        #expect(abs(expires - Double(time(nil)) - 30 * 86_400) < 3600)
        #expect(!server.log.contains("has expired"))
        _ = try authority.sign(server.identityName, days: -1)
        server.send(signal: SIGHUP)
        try eventually("the log warns") { server.log.contains("has expired") }
        #expect(try server.terminate() == .exited(0))
    }
}
