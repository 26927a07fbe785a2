import Glibc
internal import NIOSSL
import PantlerModel

/// Why TLS cannot be spoken with the files that are configured, as a sentence for the operator.
package struct TLSFault: Error, Hashable, CustomStringConvertible {
    package let description: String

    init(_ key: String, _ path: String, _ what: String) { description = "\(key): \(path) \(what)" }
}

/// What the server speaks TLS with: made of the files once, and shared by the connections of all loops.
package struct TLSMaterial: Sendable {
    let context: NIOSSLContext
    /// When the certificate expires, in seconds since 1970.
    package let expiresAt: Int64
    /// Whether clients are asked for a certificate.
    package let asksForCertificates: Bool
    /// What those may do who show one.
    let clientGrant: Grant
    /// What an operator should know although TLS can be spoken, each as a sentence.
    package let doubts: [String]

    /// The one protocol that is spoken over TLS (RFC 7301).
    static let applicationProtocol = "http/1.1"

    /// The cipher suites of TLS 1.2: those of Mozilla's "intermediate" that the library has. Each has forward secrecy, and authenticates what
    /// it encrypts. Those of TLS 1.3 cannot be chosen.
    private static let cipherSuites: [NIOTLSCipher] = [
        .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]

    /// Reads the files. Not for an event loop: it waits for the disk.
    ///
    /// - Parameter now: in seconds since 1970.
    package init(_ options: TLSOptions, now: Int64) throws(TLSFault) {
        let chain = try Self.certificates(TLSFile("tls.certificate", options.certificate))
        let keyFile = TLSFile("tls.key", options.key)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(try Self.key(keyFile))
        )
        configuration.minimumTLSVersion = .tlsv12
        configuration.cipherSuiteValues = Self.cipherSuites
        configuration.applicationProtocols = [Self.applicationProtocol]
        configuration.renegotiationSupport = .none
        if let path = options.clientCA {
            configuration.trustRoots = .certificates(try Self.certificates(TLSFile("tls.client_ca", path)))
            configuration.certificateVerification = .optionalVerification
            configuration.sendCANameList = true
        }
        do {
            context = try NIOSSLContext(configuration: configuration)
        } catch NIOSSLError.failedToLoadPrivateKey {
            throw keyFile.fault(
                "is not the key of the certificate in \(options.certificate), or the server's own certificate is not the first there"
            )
        } catch {
            throw TLSFault("tls.certificate", options.certificate, "cannot be used: \(error)")
        }
        expiresAt = chain.first.map { Int64($0.notValidAfter) } ?? 0
        asksForCertificates = options.clientCA != nil
        clientGrant = options.clientGrant
        doubts = chain.enumerated().compactMap { Self.doubt($0.element, $0.offset, options.certificate, now) }
    }

    private static func certificates(_ file: TLSFile) throws(TLSFault) -> [NIOSSLCertificate] {
        let bytes = try file.read()
        guard contains(bytes, "-----BEGIN CERTIFICATE-----") || contains(bytes, "-----BEGIN TRUSTED CERTIFICATE-----")
        else {
            throw file.fault("holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
        }
        do {
            return try NIOSSLCertificate.fromPEMBytes(bytes)
        } catch {
            throw file.fault("holds a certificate that cannot be read: it is damaged or cut short")
        }
    }

    private static func key(_ file: TLSFile) throws(TLSFault) -> NIOSSLPrivateKey {
        let bytes = try file.read()
        guard contains(bytes, "PRIVATE KEY-----") else {
            throw file.fault("holds no private key in PEM, which begins with -----BEGIN PRIVATE KEY----- or the like")
        }
        // The library would ask for the passphrase on the terminal.
        if contains(bytes, "ENCRYPTED") {
            throw file.fault(
                "is encrypted, and there is nobody to ask for a passphrase: openssl pkey -in … -out … takes it off"
            )
        }
        do {
            return try NIOSSLPrivateKey(bytes: bytes, format: .pem)
        } catch {
            throw file.fault("holds a private key that cannot be read: it is damaged, or of a kind that is not known")
        }
    }

    private static func contains(_ bytes: [UInt8], _ text: String) -> Bool {
        String(decoding: bytes, as: UTF8.self).contains(text)
    }

    private static func doubt(_ certificate: NIOSSLCertificate, _ place: Int, _ path: String, _ now: Int64) -> String? {
        let (begins, ends) = (Int64(certificate.notValidBefore), Int64(certificate.notValidAfter))
        let name = "tls.certificate: \(place == 0 ? "the certificate" : "certificate \(place + 1)") in \(path)"
        if ends < now { return "\(name) has expired \(days(now - ends)) ago: clients refuse it" }
        if begins > now { return "\(name) will not be valid for another \(days(begins - now)): clients refuse it" }
        return nil
    }

    private static func days(_ seconds: Int64) -> String {
        let days = seconds / 86_400
        return days == 0 ? "\(seconds) seconds" : days == 1 ? "1 day" : "\(days) days"
    }
}

/// A file that the configuration names.
private struct TLSFile {
    let key: String
    let path: String

    /// More than any chain of certificates has; a path may name anything.
    private static let maxBytes = 1 << 20

    init(_ key: String, _ path: String) {
        self.key = key
        self.path = path
    }

    func fault(_ what: String) -> TLSFault { TLSFault(key, path, what) }

    func read() throws(TLSFault) -> [UInt8] {
        // A pipe without a writer would never be opened.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw fault("cannot be opened: \(reason(errno))") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { throw fault("cannot be read: \(reason(errno))") }
            if count == 0 { break }
            bytes += chunk[..<count]
            if bytes.count > Self.maxBytes { throw fault("is too large for what it should hold: more than 1 MiB") }
        }
        if bytes.isEmpty { throw fault("is empty") }
        return bytes
    }

    private func reason(_ code: CInt) -> String { String(cString: strerror(code)).lowercased() }
}
