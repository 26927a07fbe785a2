internal import NIOHTTP1

/// What a request prefers (RFC 7240): the preferences of all its Prefer fields, in any order. What is no preference is passed over, as are
/// those that mean nothing here and all parameters.
struct Prefer {
    /// In lower case. A preference without a value has an empty one.
    private var values: [String: String] = [:]

    init(_ headers: HTTPHeaders) {
        for field in headers["prefer"] {
            for preference in Self.parts(field[...], "," as Unicode.Scalar) { note(preference) }
        }
    }

    /// The value of a preference, in lower case; `nil` where the request has none of that name.
    subscript(_ name: String) -> String? { values[name] }

    private mutating func note(_ preference: Substring) {
        guard let pair = Self.parts(preference, ";").first else { return }
        let name = trimmed(pair.prefix { $0 != "=" }).asciiLowercased
        guard !name.isEmpty, name.utf8.allSatisfy(MediaType.isTokenByte), values[name] == nil else { return }
        // The first of several counts (section 2).
        values[name] = Self.unquoted(trimmed(pair.dropFirst(pair.prefix { $0 != "=" }.count + 1))).asciiLowercased
    }

    /// The parts of a text between separators that do not stand in quotes.
    private static func parts(_ text: Substring, _ separator: Unicode.Scalar) -> [Substring] {
        var parts: [Substring] = []
        let scalars = text.unicodeScalars
        var start = scalars.startIndex
        var isQuoted = false
        var isEscaped = false
        for index in scalars.indices {
            let scalar = scalars[index]
            if isEscaped {
                isEscaped = false
            } else if isQuoted, scalar == "\\" {
                isEscaped = true
            } else if scalar == "\"" {
                isQuoted.toggle()
            } else if scalar == separator, !isQuoted {
                parts.append(text[start..<index])
                start = scalars.index(after: index)
            }
        }
        return parts + [text[start...]]
    }

    /// A token as it is, and a quoted string (RFC 9110, section 5.6.4) without its quotes and escapes.
    private static func unquoted(_ word: Substring) -> String {
        guard word.count > 1, word.first == "\"", word.last == "\"" else { return String(word) }
        var text = ""
        var isEscaped = false
        for character in word.dropFirst().dropLast() {
            if character == "\\", !isEscaped {
                isEscaped = true
            } else {
                text.append(character)
                isEscaped = false
            }
        }
        return text
    }
}
