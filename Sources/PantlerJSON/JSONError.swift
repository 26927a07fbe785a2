/// Why bytes are not the JSON that was asked for. Offsets count bytes from the beginning of the buffer.
package enum JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The grammar of RFC 8259 wants something else here; the end of the buffer is an offset like any other.
    case syntax(offset: Int, expected: String)
    /// Arrays and objects nest deeper than `limit`.
    case tooDeep(limit: Int)
    /// An envelope says the same thing twice.
    case duplicateMember(name: String)
    /// The sequence that begins here is not UTF-8 (Unicode, table 3-7).
    case notUTF8(offset: Int)
    /// An escape that stands for half a UTF-16 pair, where a string is needed that has an encoding in UTF-8.
    case loneSurrogate(offset: Int)
    /// What would be made has more bytes than it may have.
    case tooLarge(size: Int, limit: Int)

    /// One sentence for the caller who sent the bytes.
    package var description: String {
        switch self {
        case .syntax(let offset, let expected):
            "The JSON is malformed at byte \(offset): expected \(expected)."
        case .tooDeep(let limit):
            "The JSON nests deeper than \(limit) arrays and objects."
        case .duplicateMember(let name):
            "The member \"\(name)\" occurs more than once."
        case .notUTF8(let offset):
            "The JSON is not valid UTF-8 at byte \(offset)."
        case .loneSurrogate(let offset):
            "The escape at byte \(offset) is half a surrogate pair: it stands for no character."
        case .tooLarge(let size, let limit):
            "The result would have \(size) bytes; at most \(limit) are allowed."
        }
    }
}
