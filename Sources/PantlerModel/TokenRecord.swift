/// The SHA-256 of a secret's characters as they are sent. Two are compared in a time that does not depend on where they differ.
///
/// Whoever has it cannot call by it; but it is still nobody's business, and no description shows it.
package struct TokenDigest: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    package static let count = 32

    /// `nil` where there are not 32 bytes.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.count else { return nil }
        func word(_ number: Int) -> UInt64 {
            UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: number * 8, as: UInt64.self))
        }
        words = (word(0), word(1), word(2), word(3))
    }

    package init?(_ bytes: [UInt8]) {
        guard let digest = bytes.withUnsafeBytes({ TokenDigest($0) }) else { return nil }
        self = digest
    }

    /// - Parameter hex: 64 hexadecimal digits, of either case.
    package init?(hex: some Collection<UInt8>) {
        guard hex.count == 2 * Self.count else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in hex {
            guard let digit = Self.digit(character) else { return nil }
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        self.init(bytes)
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    package var bytes: [UInt8] {
        [words.0, words.1, words.2, words.3].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
        }
    }

    /// As the configuration has it.
    package var hex: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// In the same time, whatever the two are.
    package static func == (left: TokenDigest, right: TokenDigest) -> Bool {
        (left.words.0 ^ right.words.0) | (left.words.1 ^ right.words.1) | (left.words.2 ^ right.words.2)
            | (left.words.3 ^ right.words.3) == 0
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

    package var description: String { "a digest" }

    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Where a token is kept.
package enum TokenSource: String, Sendable {
    /// In the data folder, or in memory where there is none. Calls make, rotate and revoke it.
    case database
    /// In the configuration, which alone changes it.
    case configuration
}

/// A token as it is kept: everything but its secret. Times are by the wall clock, in milliseconds since 1970: they were told to people.
package struct TokenRecord: Hashable, Sendable {
    /// The secret before a rotation, which is good for a while longer.
    package struct Former: Hashable, Sendable {
        package var digest: TokenDigest
        package var until: Int64

        package init(digest: TokenDigest, until: Int64) {
            self.digest = digest
            self.until = until
        }
    }

    package var id: TokenID
    package var grant: Grant
    package var note: String
    /// `nil` for a token of the configuration, of which nobody knows.
    package var createdAt: Int64?
    /// `nil` = never.
    package var expiresAt: Int64?
    package var digest: TokenDigest
    package var former: Former?
    /// The last day on which it was used, in days since 1970 by UTC; `nil` = never.
    package var lastUsedDay: Int32?
    package var source: TokenSource

    /// Longest note, in bytes of UTF-8.
    package static let noteBytes = 200
    /// Most tokens of the database, and as many of the configuration.
    package static let limit = 10_000

    package init(
        id: TokenID,
        grant: Grant,
        note: String = "",
        createdAt: Int64?,
        expiresAt: Int64? = nil,
        digest: TokenDigest,
        source: TokenSource = .database
    ) {
        self.id = id
        self.grant = grant
        self.note = note
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.digest = digest
        self.source = source
    }

    /// Whether it opens nothing any more. It stays listed until it is revoked.
    package func isExpired(at wall: Int64) -> Bool { expiresAt.map { $0 <= wall } ?? false }

    /// Whether a text can be a note: short, in one line, without what a terminal could take for a command.
    package static func isNote(_ text: String) -> Bool {
        text.utf8.count <= noteBytes
            && text.unicodeScalars.allSatisfy {
                switch $0.properties.generalCategory {
                case .control, .lineSeparator, .paragraphSeparator: false
                default: true
                }
            }
    }

    /// The day of a moment, in days since 1970 by UTC.
    package static func day(ofMilliseconds wall: Int64) -> Int32 {
        let (days, rest) = wall.quotientAndRemainder(dividingBy: 86_400_000)
        return Int32(clamping: rest < 0 ? days - 1 : days)
    }
}

extension TokenRecord: CustomStringConvertible {
    package var description: String {
        "token \(id) (\(grant.role.rawValue) of \(grant.namespaces.map(\.description).joined(separator: ", ")))"
    }
}

/// A token of the configuration: known by the digest of its secret.
package struct ConfiguredToken: Hashable, Sendable {
    package var id: TokenID
    package var digest: TokenDigest
    package var grant: Grant
    package var note: String
    /// By the wall clock, in milliseconds since 1970; `nil` = never.
    package var expiresAt: Int64?

    package init(id: TokenID, digest: TokenDigest, grant: Grant, note: String = "", expiresAt: Int64? = nil) {
        self.id = id
        self.digest = digest
        self.grant = grant
        self.note = note
        self.expiresAt = expiresAt
    }

    /// As it is listed among the others.
    package var record: TokenRecord {
        TokenRecord(
            id: id,
            grant: grant,
            note: note,
            createdAt: nil,
            expiresAt: expiresAt,
            digest: digest,
            source: .configuration
        )
    }
}
