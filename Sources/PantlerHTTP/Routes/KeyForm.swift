import PantlerJSON
import PantlerModel

/// The form of a key, wherever it stands.
enum KeyForm {
    /// Decodes a key in a path. The keys `.` and `..` are refused there: most URL libraries fold them away, so that a call would be another
    /// one by the time that it is here. A client that could send them is told of the query, in which nobody folds them.
    ///
    /// - Throws: `key_required`, `key_too_long`, `key_invalid`.
    static func decode(_ encoded: UnsafeRawBufferPointer) throws(Problem) -> [UInt8] {
        guard let key = PercentDecoding.decode(encoded) else {
            throw .keyInvalid("it has a '%' without two hexadecimal digits")
        }
        try check(key)
        if isFolded(key) {
            throw .keyInvalid(
                "'.' and '..' cannot stand in a path, from which clients fold them away, but in '…/entry?key='"
            )
        }
        return key
    }

    /// Whether URL libraries take a key for a step through folders when they find it in a path.
    static func isFolded(_ key: some Collection<UInt8>) -> Bool {
        key.count <= 2 && key.allSatisfy { $0 == UInt8(ascii: ".") } && !key.isEmpty
    }

    /// Reads a key in a JSON body; `literal` is a valid string with its quotes. Throws as `decode` does.
    static func read(_ literal: UnsafeRawBufferPointer) throws(Problem) -> [UInt8] {
        let key: [UInt8]
        do {
            key = try JSON.stringBytes(literal)
        } catch {
            throw .keyInvalid("it holds half a surrogate pair")
        }
        // A valid string of a JSON text is UTF-8.
        try checkPresence(key.count)
        try checkBytes(key)
        return key
    }

    /// Checks a key of so many bytes that stands in a JSON body without escapes. Such a string is UTF-8 and has no NUL, so that its length
    /// is all that can be wrong. Throws as `decode` does.
    static func check(unescaped count: Int) throws(Problem) {
        try checkPresence(count)
        try checkLength(count)
    }

    static func check(_ key: [UInt8]) throws(Problem) {
        try checkPresence(key.count)
        try checkPrefix(key)
    }

    private static func checkPresence(_ count: Int) throws(Problem) {
        if count == 0 { throw Problem(.keyRequired, "A key is needed: 1 to \(Limits.keyBytes) bytes of UTF-8.") }
    }

    /// Checks what a key may begin with: it has the form of a key, or is empty.
    static func checkPrefix(_ prefix: [UInt8]) throws(Problem) {
        try checkBytes(prefix)
        if String(validating: prefix, as: UTF8.self) == nil { throw .keyInvalid("it is not UTF-8") }
    }

    private static func checkBytes(_ key: [UInt8]) throws(Problem) {
        try checkLength(key.count)
        if key.contains(0) { throw .keyInvalid("it holds NUL") }
    }

    private static func checkLength(_ count: Int) throws(Problem) {
        if count > Limits.keyBytes {
            throw Problem(.keyTooLong, "The key has \(count) bytes; a key has 1 to \(Limits.keyBytes).")
        }
    }
}

extension Problem {
    fileprivate static func keyInvalid(_ why: String) -> Problem {
        Problem(
            .keyInvalid,
            "The key is out of form: \(why). A key is 1 to \(Limits.keyBytes) bytes of UTF-8 without NUL."
        )
    }
}
