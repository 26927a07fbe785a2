internal import Glibc

/// A certificate authority of a test's own, made by `openssl`, with the certificates that it signs: files of PEM in a folder.
package final class CertificateAuthority: Sendable {
    package enum Key: String, Sendable {
        case p256 = "ec:prime256v1"
        case rsa2048 = "rsa:2048"
        case rsa4096 = "rsa:4096"
    }

    /// A certificate with its key.
    package struct Identity: Hashable, Sendable {
        package let certificate: String
        package let key: String
    }

    package let folder: TemporaryDirectory
    /// Its own certificate, which clients trust.
    package let certificate: String
    private let name: String

    package init(_ name: String = "ca", in folder: TemporaryDirectory? = nil) throws {
        self.name = name
        self.folder = try folder ?? TemporaryDirectory()
        certificate = self.folder.file("\(name).pem")
        try Self.openssl(
            ["req", "-x509", "-days", "30", "-subj", "/CN=Pantler's \(name)", "-out", certificate]
                + Self.newKey(.p256, self.folder.file("\(name).key"))
        )
    }

    private static func newKey(_ key: Key, _ path: String) -> [String] {
        let parts = key.rawValue.split(separator: ":").map(String.init)
        let kind =
            parts[0] == "ec"
            ? ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:\(parts[1])"] : ["-newkey", key.rawValue]
        return kind + ["-noenc", "-keyout", path]
    }

    /// Signs a certificate for `localhost` and 127.0.0.1.
    ///
    /// - Parameters:
    ///   - name: of the files, and of the subject if that has no other; what was signed under it before is replaced.
    ///   - days: how long it is valid from now on; negative = it has expired.
    package func sign(
        _ name: String = "server",
        _ key: Key = .p256,
        subject: String? = nil,
        days: Int = 30
    ) throws -> Identity {
        let made = Identity(certificate: folder.file("\(name).pem"), key: folder.file("\(name).key"))
        let request = folder.file("\(name).csr")
        try Self.openssl(["req", "-subj", "/CN=\(subject ?? name)", "-out", request] + Self.newKey(key, made.key))
        let extensions = try folder.write(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
            to: "\(name).ext"
        )
        try Self.openssl([
            "x509", "-req", "-in", request, "-CA", certificate, "-CAkey", folder.file("\(self.name).key"),
            "-CAcreateserial",
            "-days", "\(days)", "-extfile", extensions, "-out", made.certificate,
        ])
        return made
    }

    private static func openssl(_ arguments: [String]) throws {
        let result = try Command.run(program: ["openssl"] + arguments)
        guard result.status == 0 else { throw Failure("openssl \(arguments.joined(separator: " ")): \(result)") }
    }
}
