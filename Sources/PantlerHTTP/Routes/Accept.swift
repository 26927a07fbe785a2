internal import NIOHTTP1

/// What `Accept` says (RFC 9110, section 12.5.1), or `Accept-Encoding` (section 12.5.3).
struct Accept: Sendable {
    private struct MediaRange {
        /// `*/*`, `text/*`, or a whole type; a coding, or `*`; in lower case.
        let name: String
        /// `q`, 0 to 1; other parameters do not matter here.
        let quality: Double
    }

    /// Empty = everything is acceptable.
    private let ranges: [MediaRange]

    init(_ headers: HTTPHeaders, _ name: String = "accept") {
        var ranges: [MediaRange] = []
        for field in headers[name] {
            for element in splitOutsideQuotes(field, separator: ",") {
                let parts = splitOutsideQuotes(element, separator: ";")
                guard let name = parts.first.map({ trimmed($0).asciiLowercased }), !name.isEmpty else { continue }
                ranges.append(MediaRange(name: name, quality: Self.quality(parts.dropFirst())))
            }
        }
        self.ranges = ranges
    }

    /// How much a type is wanted, 0 = not at all. The most specific range decides.
    ///
    /// - Parameter type: in lower case, without parameters.
    func quality(of type: String) -> Double {
        if ranges.isEmpty { return 1 }
        let group = type.prefix { $0 != "/" } + "/*"
        return named(type) ?? named(String(group)) ?? named("*/*") ?? 0
    }

    /// Whether the client takes a text that gzip has compressed.
    static func takesGzip(_ headers: HTTPHeaders) -> Bool {
        let codings = Accept(headers, "accept-encoding")
        return (codings.named("gzip") ?? codings.named("x-gzip") ?? codings.named("*") ?? 0) > 0
    }

    /// The quality of a range that is written exactly so.
    func named(_ range: String) -> Double? {
        ranges.filter { $0.name == range }.map(\.quality).max()
    }

    private static func quality(_ parameters: some Collection<Substring>) -> Double {
        for parameter in parameters {
            let pair = parameter.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, trimmed(pair[0]).asciiLowercased == "q" else { continue }
            guard let quality = Double(trimmed(pair[1])), (0...1).contains(quality) else { return 1 }
            return quality
        }
        return 1
    }
}

/// Cuts a field's value at separators that do not stand in a quoted string.
private func splitOutsideQuotes(_ text: some StringProtocol, separator: Character) -> [Substring] {
    let text = Substring(text)
    var pieces: [Substring] = []
    var start = text.startIndex
    var isQuoted = false
    var isEscaped = false
    for index in text.indices {
        let character = text[index]
        if isEscaped {
            isEscaped = false
        } else if isQuoted, character == "\\" {
            isEscaped = true
        } else if character == "\"" {
            isQuoted.toggle()
        } else if character == separator, !isQuoted {
            pieces.append(text[start..<index])
            start = text.index(after: index)
        }
    }
    pieces.append(text[start...])
    return pieces
}
