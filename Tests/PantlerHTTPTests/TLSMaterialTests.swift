import Glibc
import Support
import Testing

@testable import PantlerHTTP

@Suite("The files that TLS is spoken with")
struct TLSMaterialTests {
    private let authority: CertificateAuthority
    private let identity: CertificateAuthority.Identity
    private static var now: Int64 { Int64(time(nil)) }

    init() throws {
        authority = try CertificateAuthority()
        identity = try authority.sign()
    }

    private func load(
        certificate: String? = nil,
        key: String? = nil,
        clientCA: String? = nil
    ) throws(TLSFault) -> TLSMaterial {
        var options = TLSOptions(certificate: certificate ?? identity.certificate, key: key ?? identity.key)
        options.clientCA = clientCA
        return try TLSMaterial(options, now: Self.now)
    }

    private func file(_ text: String) throws -> String { try authority.folder.write(Array(text.utf8), to: "file") }

    @Test("are a certificate, its chain and its key; they tell when the certificate expires")
    func good() throws {
        let chain = try authority.folder.write(
            contents(of: identity.certificate) + contents(of: authority.certificate),
            to: "chain"
        )
        let material = try load(certificate: chain, clientCA: authority.certificate)
        #expect(material.doubts.isEmpty)
        #expect(material.asksForCertificates)
        #expect(abs(material.expiresAt - Self.now - 30 * 86_400) < 3600)
        #expect(try !load().asksForCertificates)
    }

    @Test("may be in one file")
    func together() throws {
        let file = try authority.folder.write(
            contents(of: identity.key) + contents(of: identity.certificate),
            to: "both"
        )
        _ = try load(certificate: file, key: file)
    }

    @Test("that have expired are used, and told of")
    func expired() throws {
        let old = try authority.sign("old", days: -1)
        let material = try load(certificate: old.certificate, key: old.key)
        #expect(material.doubts.count == 1)
        #expect(material.doubts.first?.contains("\(old.certificate) has expired") == true, "\(material.doubts)")
    }

    private func expectFault(_ text: String, _ body: () throws(TLSFault) -> TLSMaterial) {
        do {
            _ = try body()
            Issue.record("no fault: \(text)")
        } catch {
            #expect(error.description.contains(text), "\(error)")
        }
    }

    @Test("that cannot be read are named, with what is wrong")
    func faults() throws {
        let folder = authority.folder
        expectFault("tls.certificate: /nowhere/cert.pem cannot be opened: no such file") { () throws(TLSFault) in
            try load(certificate: "/nowhere/cert.pem")
        }
        expectFault("tls.key: \(folder.path) cannot be read: is a directory") { () throws(TLSFault) in
            try load(key: folder.path)
        }
        let empty = try file("")
        expectFault("is empty") { () throws(TLSFault) in try load(key: empty) }
        let text = try file("no PEM")
        expectFault("tls.key: \(text) holds no private key in PEM") { () throws(TLSFault) in try load(key: text) }
        expectFault("tls.certificate: \(text) holds no certificate") { () throws(TLSFault) in
            try load(certificate: text)
        }
        expectFault("tls.client_ca: \(text) holds no certificate") { () throws(TLSFault) in try load(clientCA: text) }
        expectFault("tls.certificate: \(identity.key) holds no certificate") { () throws(TLSFault) in
            try load(certificate: identity.key)
        }
        let cut = try folder.write(Array(contents(of: identity.certificate).prefix(200)), to: "cut")
        expectFault("tls.certificate: \(cut) holds a certificate that cannot be read") { () throws(TLSFault) in
            try load(certificate: cut)
        }
        let damaged = try folder.write(
            String(decoding: contents(of: identity.key), as: UTF8.self).replacing("M", with: "!"),
            to: "damaged"
        )
        _ = damaged
        expectFault("holds a private key that cannot be read") { () throws(TLSFault) in
            try load(key: folder.file("damaged"))
        }
        let large = try folder.write([UInt8](repeating: 65, count: 2 << 20), to: "large")
        expectFault("is too large") { () throws(TLSFault) in try load(key: large) }
    }

    @Test("whose key is another's, or is kept under a passphrase, are refused")
    func keys() throws {
        let other = try authority.sign("other")
        expectFault("tls.key: \(other.key) is not the key of the certificate in \(identity.certificate)") {
            () throws(TLSFault) in
            try load(key: other.key)
        }
        let rsa = try authority.sign("rsa", .rsa2048)
        expectFault("is not the key of the certificate") { () throws(TLSFault) in try load(key: rsa.key) }
        let secret = authority.folder.file("secret")
        let result = try Command.run(program: [
            "openssl", "pkey", "-in", identity.key, "-aes256", "-passout", "pass:word", "-out", secret,
        ])
        #expect(result.status == 0, "\(result)")
        expectFault("tls.key: \(secret) is encrypted") { () throws(TLSFault) in try load(key: secret) }
    }

    @Test("no pipe is waited for", .timeLimit(.minutes(1)))
    func pipe() throws {
        let path = authority.folder.file("pipe")
        #expect(mkfifo(path, 0o600) == 0)
        expectFault("is empty") { () throws(TLSFault) in try load(key: path) }
    }
}
