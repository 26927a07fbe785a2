/// The public part of a token: 8 letters `a` to `z`. It names the token in lists and logs, and opens nothing.
package struct TokenID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The letters, the first in the highest byte.
    private let letters: UInt64

    /// How many letters an id has.
    package static let count = 8

    /// `nil` where the bytes are not such letters. Allocates nothing for a buffer. Complexity: O(1).
    package init?(_ text: some Collection<UInt8>) {
        var letters: UInt64 = 0
        var count = 0
        for byte in text {
            guard count < Self.count, UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte else { return nil }
            letters = letters << 8 | UInt64(byte)
            count += 1
        }
        guard count == Self.count else { return nil }
        self.letters = letters
    }

    package init?(_ text: String) { self.init(text.utf8) }

    /// Any of the 26^8 ids.
    package init(using generator: inout some RandomNumberGenerator) {
        letters = (0..<Self.count).reduce(0) { letters, _ in
            letters << 8 | UInt64(UInt8.random(in: UInt8(ascii: "a")...UInt8(ascii: "z"), using: &generator))
        }
    }

    package var description: String {
        String(
            decoding: (0..<Self.count).map { UInt8(truncatingIfNeeded: letters >> UInt64(56 - 8 * $0)) },
            as: UTF8.self
        )
    }

    package static func < (left: TokenID, right: TokenID) -> Bool { left.letters < right.letters }
}

/// The parts of a token as it is presented: `pt_<id>_<secret>`.
///
/// It points into the bytes that it was found in. It is neither printed nor kept anywhere.
package struct PresentedToken {
    package let id: TokenID
    /// The secret's characters: 32 random bytes as base64url without padding (RFC 4648 section 5).
    package let secret: UnsafeRawBufferPointer

    /// Characters of a secret, and of a whole token.
    package static let secretCount = 43
    package static let count = 3 + TokenID.count + 1 + secretCount

    /// What every token begins with, so that scanners for leaked secrets know one.
    package static let prefix: StaticString = "pt_"

    /// `nil` where the bytes have not the form of a token. Allocates nothing. Complexity: O(1).
    package init?(_ text: UnsafeRawBufferPointer) {
        guard text.count == Self.count, text[0] == UInt8(ascii: "p"), text[1] == UInt8(ascii: "t"),
            text[2] == UInt8(ascii: "_"), text[3 + TokenID.count] == UInt8(ascii: "_"),
            let id = TokenID(UnsafeRawBufferPointer(rebasing: text[3..<3 + TokenID.count]))
        else { return nil }
        let secret = UnsafeRawBufferPointer(rebasing: text[(Self.count - Self.secretCount)...])
        guard secret.allSatisfy(Self.isOfSecret) else { return nil }
        self.id = id
        self.secret = secret
    }

    /// Whether a byte is of base64url.
    package static func isOfSecret(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

extension PresentedToken {
    /// Cuts the secrets out of all tokens that stand in a text, whole or not: a client may have put one where none belongs, as into a path, which
    /// is logged. Complexity: O(length).
    package static func hideSecrets(in text: inout [UInt8]) {
        var start = 0
        while let secret = firstSecret(in: text[start...]) {
            text.replaceSubrange(secret, with: "…".utf8)
            start = secret.lowerBound
        }
    }

    package static func hidingSecrets(_ text: String) -> String {
        var bytes = Array(text.utf8)
        guard firstSecret(in: bytes[...]) != nil else { return text }
        hideSecrets(in: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func firstSecret(in text: ArraySlice<UInt8>) -> Range<Int>? {
        let head = 3 + TokenID.count + 1
        var rest = text
        while let place = rest.firstIndex(of: UInt8(ascii: "p")) {
            rest = text[(place + 1)...]
            let candidate = text[place...]
            guard candidate.count > head, candidate.starts(with: "pt_".utf8),
                TokenID(candidate[(place + 3)..<(place + head - 1)]) != nil,
                candidate[place + head - 1] == UInt8(ascii: "_")
            else { continue }
            let secret = candidate[(place + head)...].prefix(while: isOfSecret)
            if !secret.isEmpty { return secret.startIndex..<secret.endIndex }
        }
        return nil
    }
}
