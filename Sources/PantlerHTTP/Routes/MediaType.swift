import PantlerModel

/// Media types (RFC 9110, section 8.3.1), as far as Pantler looks into them: their form, and what stands before the
/// parameters.
enum MediaType {
    static let json = "application/json"
    static let mergePatch = "application/merge-patch+json"
    static let bytes = "application/octet-stream"
    /// JSON with its length before it, and bytes behind it.
    static let batch = "application/vnd.pantler.batch"

    /// Type and subtype in lower case, without the parameters.
    static func essence(_ text: some StringProtocol) -> String {
        trimmed(text[..<endOfEssence(text)]).asciiLowercased
    }

    /// Whether `text` is a type and a subtype, perhaps with printable text after a semicolon; 3 to 255 bytes.
    static func isValid(_ text: String) -> Bool {
        guard (3...Limits.mediaTypeBytes).contains(text.utf8.count) else { return false }
        let end = endOfEssence(text)
        let parameters = text[end...]
        let name = parameters.isEmpty ? Substring(text) : trimmedEnd(text[..<end])
        guard parameters.utf8.allSatisfy({ (0x20...0x7e).contains($0) || $0 == 0x09 }) else { return false }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(isTokenByte) }
    }

    /// Where the parameters begin. The semicolon is looked for among the bytes, because to a `Character` the Greek question mark is a
    /// semicolon, too.
    private static func endOfEssence(_ text: some StringProtocol) -> String.Index {
        text.utf8.firstIndex(of: UInt8(ascii: ";")) ?? text.endIndex
    }

    /// `tchar` of RFC 9110, section 5.6.2.
    static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}

extension StringProtocol {
    /// The text with ASCII's capital letters in lower case. HTTP ignores the case of no other letters, while `lowercased` makes a k of the
    /// Kelvin sign.
    var asciiLowercased: String {
        String(
            decoding: utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 },
            as: UTF8.self
        )
    }
}

/// The text without the spaces and tabs around it (`OWS` of RFC 9110, section 5.6.3).
func trimmed(_ text: some StringProtocol) -> Substring {
    trimmedEnd(Substring(text).drop { $0 == " " || $0 == "\t" })
}

private func trimmedEnd(_ text: Substring) -> Substring {
    var text = text
    while let last = text.last, last == " " || last == "\t" { text.removeLast() }
    return text
}
