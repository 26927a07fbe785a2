import PantlerJSON
import PantlerModel

/// Where a listing goes on: a record that callers hand back as it came, in base64 for URLs (RFC 4648, section 5).
///
/// It names the namespace by its number, so that a cursor does not outlive its namespace, and the prefix by its hash. A
/// checksum tells damage; it keeps no secret, since a cursor opens nothing that a listing does not.
struct Cursor: Equatable, Sendable {
    /// The first byte of a record. Another form gets another number.
    private static let form: UInt8 = 1
    private static let headBytes = 1 + 4 + 8
    private static let sumBytes = 4
    /// The hash of prefix and record. Nobody gains by finding two that are equal.
    private static let hash = EntryHash(seed: 0x7061_6e74_6c65_7231)

    let namespace: NamespaceID
    let prefix: [UInt8]
    /// The last key of the page before.
    let after: [UInt8]

    init(namespace: NamespaceID, prefix: [UInt8], after: [UInt8]) {
        self.namespace = namespace
        self.prefix = prefix
        self.after = after
    }

    /// Reads a cursor that came back.
    ///
    /// - Throws: `cursor_invalid` if it is damaged, or one of another listing.
    init(_ text: [UInt8], namespace: NamespaceID, prefix: [UInt8]) throws(Problem) {
        guard let record = Self.decode(text), record.count > Self.headBytes + Self.sumBytes else {
            throw .cursorInvalid
        }
        let after = Array(record[Self.headBytes..<record.count - Self.sumBytes])
        self.init(namespace: namespace, prefix: prefix, after: after)
        // All but the key is known: a record that differs anywhere from the expected one does not belong to this listing.
        guard self.record == record else { throw .cursorInvalid }
    }

    /// The cursor as a caller gets it.
    var text: String {
        var encoded: [UInt8] = []
        record.withUnsafeBytes { Base64.encode($0, into: &encoded) }
        let characters = encoded.prefix { $0 != UInt8(ascii: "=") }.map { byte in
            switch byte {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            default: byte
            }
        }
        return String(decoding: characters, as: UTF8.self)
    }

    private static func decode(_ text: [UInt8]) -> [UInt8]? {
        // The characters that only the other alphabet of base64 has are not taken here.
        guard !text.contains(UInt8(ascii: "+")), !text.contains(UInt8(ascii: "/")), !text.contains(UInt8(ascii: "="))
        else { return nil }
        var characters = text.map { byte in
            switch byte {
            case UInt8(ascii: "-"): UInt8(ascii: "+")
            case UInt8(ascii: "_"): UInt8(ascii: "/")
            default: byte
            }
        }
        while characters.count % 4 != 0 { characters.append(UInt8(ascii: "=")) }
        return characters.withUnsafeBytes { Base64.decode($0) }
    }

    /// Form, namespace, prefix, key, checksum; integers with their lowest byte first.
    private var record: [UInt8] {
        var record = [Self.form]
        record += Self.bytes(namespace)
        record += Self.bytes(Self.hash.hash(namespace: namespace, key: prefix))
        record += after
        record += Self.sum(record[...])
        return record
    }

    private static func sum(_ record: ArraySlice<UInt8>) -> [UInt8] {
        bytes(UInt32(truncatingIfNeeded: hash.hash(namespace: 0, key: Array(record))))
    }

    private static func bytes(_ integer: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: integer.littleEndian) { Array($0) }
    }
}

extension Problem {
    fileprivate static let cursorInvalid = Problem(
        .cursorInvalid,
        "The cursor is damaged, or of another namespace or prefix: begin the listing anew without one."
    )
}
