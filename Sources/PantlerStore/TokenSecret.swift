import Crypto
package import PantlerModel

/// The secret of a token, and what is kept of it.
package enum TokenSecret {
    /// Bytes of randomness in a secret.
    private static let bytes = 32

    /// A new secret's characters: 256 bits of the system's generator (getrandom(2)) as base64url without padding.
    static func make() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        let random = (0..<bytes).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return base64URL(random)
    }

    /// The digest of a secret's characters as they are sent.
    package static func digest(of secret: UnsafeRawBufferPointer) -> TokenDigest {
        var hash = SHA256()
        hash.update(bufferPointer: secret)
        // SHA-256 has as many bytes as a `TokenDigest`.
        return hash.finalize().withUnsafeBytes { TokenDigest($0) } ?? .random()
    }

    /// A whole new token that nobody knows, for the configuration.
    package static func newToken() -> String {
        var generator = SystemRandomNumberGenerator()
        return text(TokenID(using: &generator), make())
    }

    static func text(_ id: TokenID, _ secret: [UInt8]) -> String {
        "\(PresentedToken.prefix)\(id)_" + String(decoding: secret, as: UTF8.self)
    }

    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    /// RFC 4648 section 5, without padding.
    private static func base64URL(_ bytes: [UInt8]) -> [UInt8] {
        // Of static storage duration.
        let characters = alphabet.utf8Start
        var text: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            count += 8
            while count >= 6 {
                count -= 6
                text.append(characters[Int(bits >> UInt32(count)) & 0x3f])
            }
        }
        if count > 0 { text.append(characters[Int(bits << UInt32(6 - count)) & 0x3f]) }
        return text
    }
}

extension TokenDigest {
    /// A digest of no secret that anyone has.
    static func random() -> TokenDigest {
        var generator = SystemRandomNumberGenerator()
        while true {
            let bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            if let digest = TokenDigest(bytes) { return digest }
        }
    }
}

/// A token that was just made or rotated, with its secret, which nobody can be told a second time. Nothing that prints or dumps it shows that.
package struct IssuedToken: Sendable, CustomStringConvertible, CustomReflectable {
    /// The whole token, `pt_<id>_<secret>`: for the answer to the one who asked for it.
    package let secretText: String
    package let record: TokenRecord

    init(secret: [UInt8], _ record: TokenRecord) {
        secretText = TokenSecret.text(record.id, secret)
        self.record = record
    }

    package var description: String { record.description }

    package var customMirror: Mirror { Mirror(self, children: ["record": record]) }
}
