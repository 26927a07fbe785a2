/// What shows that its holder has a lease: 128 random bits, which nobody can guess.
package struct LeaseToken: Hashable, Sendable {
    private let high: UInt64
    private let low: UInt64

    /// A new token, from the system's source of random numbers.
    init() {
        var source = SystemRandomNumberGenerator()
        (high, low) = (source.next(), source.next())
    }

    /// Characters of the text.
    package static let characters = 22
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    /// The token that a text stands for; `nil` for a text that no token has.
    package init?(_ text: some Sequence<UInt8>) {
        var bits: UInt128 = 0
        var count = 0
        for byte in text {
            guard count < Self.characters, let six = Self.value(byte) else { return nil }
            // The last character has the last two bits of the token, and four zeros.
            if count == Self.characters - 1 {
                guard six & 0xf == 0 else { return nil }
                bits = bits << 2 | UInt128(six >> 4)
            } else {
                bits = bits << 6 | UInt128(six)
            }
            count += 1
        }
        guard count == Self.characters else { return nil }
        (high, low) = (UInt64(truncatingIfNeeded: bits >> 64), UInt64(truncatingIfNeeded: bits))
    }

    /// The token in base64url (RFC 4648, section 5) without padding.
    package var text: String {
        let bits = UInt128(high) << 64 | UInt128(low)
        let characters = (0..<Self.characters).map { place -> UInt8 in
            let six = place == Self.characters - 1 ? bits << 4 : bits >> UInt128(122 - 6 * place)
            return Self.alphabet[Int(truncatingIfNeeded: six & 0x3f)]
        }
        return String(decoding: characters, as: UTF8.self)
    }

    private static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }

    /// Takes the same time whatever the two tokens share, so that time tells nothing about a token.
    package static func == (left: LeaseToken, right: LeaseToken) -> Bool {
        (left.high ^ right.high) | (left.low ^ right.low) == 0
    }
}
