import Glibc
import PantlerModel
import Support
import Testing

/// Every byte that the service writes anywhere, but for the one answer that hands a token out, is looked through for secrets.
@Suite("A token's secret stands nowhere")
struct SecretsTests {
    private static let ns = "/v1/namespaces/sessions"

    private static func secret(_ token: String) -> String { String(token.suffix(PresentedToken.secretCount)) }

    /// The secret's 32 bytes: whoever kept those would have kept the secret.
    private static func raw(_ secret: String) -> [UInt8] {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var (bits, count, bytes): (UInt32, Int, [UInt8]) = (0, 0, [])
        for character in secret.utf8 {
            bits = bits << 6 | UInt32(alphabet.firstIndex(of: character) ?? 0)
            count += 6
            if count >= 8 {
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count - 8)))
                count -= 8
            }
        }
        return bytes
    }

    private static func holds(_ bytes: [UInt8], _ wanted: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            wanted.withUnsafeBytes { wanted in
                guard let start = bytes.baseAddress, let first = wanted.first else { return false }
                var place = 0
                while let found = memchr(start + place, CInt(first), bytes.count - place) {
                    place = UnsafeRawPointer(found) - start
                    guard bytes.count - place >= wanted.count else { return false }
                    if bytes[place...].starts(with: wanted) { return true }
                    place += 1
                }
                return false
            }
        }
    }

    private static func mode(of path: String) -> mode_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    @Test(
        "in no log at trace, no answer, no figure, no file of the data folder, and no fault of the configuration",
        arguments: ["text", "json"]
    )
    func nowhere(format: String) throws {
        let folder = try TemporaryDirectory()
        let data = folder.file("data")
        let made = try Command.run(["token", "create", "--role", "admin", "--data-dir", data])
        let admin = made.output.trimmingCharacters
        try #require(made.status == 0 && admin.utf8.count == PresentedToken.count, "\(made)")
        let configured = "pt_configed_" + String(repeating: "0aZ_-", count: 8) + "0aZ"
        try folder.write(configured, to: "first-token")
        let server = try ServerProcess(
            ServerProcess.Options(
                configuration: """
                    server:
                      tokens: true
                    tokens:
                      file: \(folder.file("first-token"))
                    log:
                      level: trace
                      access: all
                      format: \(format)
                    """,
                folder: folder
            )
        )
        let http = server.client
        var answers: [UInt8] = []
        func call(_ method: String, _ target: String, _ token: String, _ body: String? = nil) throws -> Response {
            var headers = ["Authorization": "Bearer \(token)"]
            if body != nil { headers["Content-Type"] = "application/json" }
            let answer = try http.request(method, target, headers, body: body.map { Array($0.utf8)[...] })
            for header in answer.headers { answers += "\(header.name): \(header.value)\n".utf8 }
            answers += answer.body
            return answer
        }
        // The answers that hand out a token are the exceptions.
        func issued(_ target: String, _ body: String) throws -> String {
            let headers = ["Authorization": "Bearer \(admin)", "Content-Type": "application/json"]
            let answer = try http.request("POST", target, headers, body: Array(body.utf8)[...])
            #expect([200, 201].contains(answer.status), "\(answer.text)")
            return try #require(JSON(answer.body)["token"].string)
        }
        let writer = try issued("/v1/tokens", #"{"role":"write","namespaces":["sessions"],"note":"the shop"}"#)
        let id = String(writer.dropFirst(3).prefix(8))
        let rotated = try issued("/v1/tokens/\(id)/rotate", #"{"grace":3600}"#)
        let wrong = writer.dropLast() + (writer.hasSuffix("A") ? "E" : "A")
        let tokens = [admin, configured, writer, rotated]
        for token in tokens {
            #expect(try call("PUT", Self.ns + "/entries/k", token, #"{"value":1}"#).status / 100 == 2)
            #expect(try call("GET", Self.ns + "/entries/k", token).status == 200)
            #expect(try call("GET", Self.ns + "/entries/k?peek", token).status == 200)
            #expect(try call("GET", "/v1/token", token).status == 200)
            // Where a client may put one by mistake: a path, a query, a header, a body.
            _ = try call("GET", Self.ns + "/entries/k?token=\(token)", token)
            _ = try call("GET", "/v1/\(token)", token)
            _ = try call("GET", Self.ns + "/entries?cursor=\(token)", token)
            _ = try call("PUT", Self.ns + "/entries/k", token, #"{"value":1,"\#(token)":1}"#)
            _ = try call("PUT", Self.ns + "/entries/k", token, "{\"ttl\":\"\(token)\"}")
            _ = try call("POST", "/v1/tokens", token, #"{"role":"\#(token)"}"#)
            _ = try call("GET", Self.ns + "/entries/k", token + "x")
            _ = try http.request("GET", Self.ns, ["Authorization": "Basic \(token)"])
            let condition = ["Authorization": "Bearer \(token)", "If-Match": token]
            _ = try http.request("PUT", Self.ns + "/entries/k", condition, body: [])
            _ = try http.request("GET", "/", ["Host": token])
        }
        _ = try call("GET", Self.ns + "/entries/k", String(wrong))
        for target in ["/metrics", "/v1/stats", "/v1/tokens", "/v1/tokens/\(id)", "/v1/listeners", "/v1/namespaces"] {
            #expect(try call("GET", target, admin).status == 200, "\(target)")
        }
        // A configuration that is read anew, and one that cannot be taken, are told of in the log.
        server.send(signal: SIGHUP)
        try eventually("it is read") { server.log.contains("Reloaded") }
        try folder.write("- \(configured)\n- {id: \(configured)}\n", to: "first-token")
        server.send(signal: SIGHUP)
        try eventually("it is refused") { server.log.contains("Not reloaded") }
        #expect(try call("DELETE", "/v1/tokens/\(id)", admin).status == 204)
        #expect(try call("GET", Self.ns + "/entries/k", rotated).status == 401)
        #expect(try server.terminate() == .exited(0))
        #expect(Self.mode(of: data) == 0o700)
        for name in names(in: data) { #expect(Self.mode(of: "\(data)/\(name)") == 0o600, "\(name)") }
        var places = [("an answer", answers), ("the log", Array(server.log.utf8))]
        for name in names(in: data) { places.append((name, contents(of: "\(data)/\(name)"))) }
        #expect(places.count > 3)
        // That what is looked for would be found.
        #expect(Self.holds(Array(server.log.utf8), Array(id.utf8)))
        for token in tokens + [String(wrong)] {
            let secret = Self.secret(token)
            for (place, bytes) in places {
                // A part is as good as the whole where it is long.
                #expect(!Self.holds(bytes, Array(secret.prefix(24).utf8)), "\(place) has the beginning of a secret")
                #expect(!Self.holds(bytes, Array(secret.suffix(24).utf8)), "\(place) has the end of a secret")
                #expect(!Self.holds(bytes, Self.raw(secret)), "\(place) has a secret's bytes")
            }
        }
    }
}

extension String {
    fileprivate var trimmingCharacters: String { String(drop { $0.isWhitespace }.prefix { !$0.isWhitespace }) }
}
