/// JSON as a tree: the plainest possible reading, to hold the scanner against. Recursive, slow, and works on Unicode
/// scalars where the scanner works on bytes.
indirect enum ReferenceJSON: Equatable {
    struct Member: Equatable {
        /// UTF-16, so that lone surrogates are names like any other.
        var name: [UInt16]
        var value: ReferenceJSON
    }

    case object([Member])
    case array([ReferenceJSON])
    case string([UInt16])
    /// Numbers and literals, as they are written.
    case other(String)

    /// `nil` if `bytes` are not one JSON text, or nest deeper than `maxDepth`.
    init?(_ bytes: [UInt8], maxDepth: Int) {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        var parser = Parser(rest: Array(text.unicodeScalars)[...], maxDepth: maxDepth)
        guard let value = parser.value(depth: 0), parser.rest.isEmpty else { return nil }
        self = value
    }

    /// The pseudo-code of RFC 7396, section 2. Of several members of one name the last one counts.
    static func mergePatch(_ target: ReferenceJSON, _ patch: ReferenceJSON) -> ReferenceJSON {
        guard case .object(let changes) = patch else { return patch }
        var members: [Member] = []
        if case .object(let existing) = target { members = existing }
        let names = changes.map(\.name)
        for (index, change) in changes.enumerated() where !names[(index + 1)...].contains(change.name) {
            let existing = members.last { $0.name == change.name }
            // The last member of the name is the one that counts, and keeps its place.
            let place = members.lastIndex { $0.name == change.name }
            let merged =
                change.value == .other("null")
                ? nil : Member(name: change.name, value: mergePatch(existing?.value ?? .other("null"), change.value))
            if let place, let merged { members[place] = merged }
            var last = true
            for index in members.indices.reversed() where members[index].name == change.name {
                if !last || merged == nil { members.remove(at: index) }
                last = false
            }
            if place == nil, let merged { members.append(merged) }
        }
        return .object(members)
    }
}

private struct Parser {
    var rest: ArraySlice<Unicode.Scalar>
    let maxDepth: Int

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard rest.first == scalar else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func space() {
        rest = rest.drop { " \t\r\n".unicodeScalars.contains($0) }
    }

    /// A value with the whitespace around it.
    mutating func value(depth: Int) -> ReferenceJSON? {
        space()
        defer { space() }
        switch rest.first {
        case "{": return depth < maxDepth ? object(depth: depth + 1) : nil
        case "[": return depth < maxDepth ? array(depth: depth + 1) : nil
        case "\"": return string().map { .string($0) }
        default: return other()
        }
    }

    private mutating func object(depth: Int) -> ReferenceJSON? {
        _ = take("{")
        space()
        if take("}") { return .object([]) }
        var members: [ReferenceJSON.Member] = []
        repeat {
            space()
            guard let name = string() else { return nil }
            space()
            guard take(":"), let value = value(depth: depth) else { return nil }
            members.append(.init(name: name, value: value))
        } while take(",")
        return take("}") ? .object(members) : nil
    }

    private mutating func array(depth: Int) -> ReferenceJSON? {
        _ = take("[")
        space()
        if take("]") { return .array([]) }
        var elements: [ReferenceJSON] = []
        repeat {
            guard let value = value(depth: depth) else { return nil }
            elements.append(value)
        } while take(",")
        return take("]") ? .array(elements) : nil
    }

    private mutating func string() -> [UInt16]? {
        guard take("\"") else { return nil }
        var units: [UInt16] = []
        while let scalar = rest.popFirst() {
            if scalar == "\"" { return units }
            if scalar.value < 0x20 { return nil }
            guard scalar == "\\" else {
                units.append(contentsOf: Character(scalar).utf16)
                continue
            }
            let escapes: [Unicode.Scalar: UInt16] = [
                "\"": 34, "\\": 92, "/": 47, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9,
            ]
            guard let escape = rest.popFirst() else { return nil }
            if let unit = escapes[escape] {
                units.append(unit)
            } else {
                let digits = rest.prefix(4)
                guard escape == "u", digits.count == 4,
                    digits.allSatisfy({ $0.isASCII && $0.properties.isASCIIHexDigit }),
                    let unit = UInt16(String(String.UnicodeScalarView(digits)), radix: 16)
                else { return nil }
                units.append(unit)
                rest.removeFirst(4)
            }
        }
        return nil
    }

    private mutating func other() -> ReferenceJSON? {
        let word = String(String.UnicodeScalarView(rest.prefix { !" \t\r\n,]}:\"[{".unicodeScalars.contains($0) }))
        rest.removeFirst(word.unicodeScalars.count)
        let isValid =
            ["true", "false", "null"].contains(word)
            || word.wholeMatch(of: /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/) != nil
        return isValid ? .other(word) : nil
    }
}
