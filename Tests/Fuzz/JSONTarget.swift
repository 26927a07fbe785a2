internal import PantlerJSON

/// The scanner against the plain reading of the tests, and what stands on it.
enum JSONTarget {
    private static let maxDepth = 6

    static func run(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        let reference = ReferenceJSON(Array(bytes), maxDepth: maxDepth)
        let range = try? JSON.validate(bytes, maxDepth: maxDepth)
        must((range != nil) == (reference != nil), "valid is \(range != nil), for the reference \(reference != nil)")
        let value = bytes.slice(JSON.trimmed(bytes))
        if let range { must(range == JSON.trimmed(bytes), "\(range) is not \(JSON.trimmed(bytes))") }
        let members = try? names(bytes)
        let elements = try? count(bytes)
        switch reference {
        case .object(let expected)?:
            let texts = expected.map { String(decoding: $0.name, as: UTF16.self) }
            let isText = zip(texts, expected).allSatisfy { Array($0.utf16) == $1.name }
            must(
                isText ? members?.map { Array($0.utf8) } == texts.map { Array($0.utf8) } : members == nil,
                "other names"
            )
        case .array(let expected)?: must(elements == expected.count, "other elements")
        case .string(let units)?:
            let decoded = String(decoding: units, as: UTF16.self)
            let string = (try? JSON.string(value)).map { Array($0.utf16) }
            must(string == (Array(decoded.utf16) == units ? units : nil), "another string")
        case .other(let word)?:
            must(JSON.integer(value).map { "\($0)" == word || (word == "-0" && $0 == 0) } ?? true, "another integer")
        case nil: must(members == nil && elements == nil, "members of what is none")
        }
        _ = JSON.milliseconds(fromSeconds: value)
        _ = Base64.decode(bytes)
        var literal: [UInt8] = []
        JSON.appendString(bytes, to: &literal)
        must((try? JSON.validate(literal, maxDepth: 0)) != nil, "bytes written as a string are none")
        return 0
    }

    private static func names(_ bytes: UnsafeRawBufferPointer) throws -> [String] {
        var reader = try JSONObjectReader(bytes, maxDepth: maxDepth)
        var names: [String] = []
        while let member = try reader.next() { names.append(member.name.text) }
        return names
    }

    private static func count(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        var reader = try JSONArrayReader(bytes, maxDepth: maxDepth)
        var count = 0
        while try reader.next() != nil { count += 1 }
        return count
    }
}

/// Merge patches against the pseudo-code of RFC 7396: a target and a patch with a byte 0 between them.
enum MergeTarget {
    private static let maxDepth = 6

    static func run(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard let middle = bytes.firstIndex(of: 0) else { return 0 }
        // Copies, so that a byte too far in either is seen.
        let (target, patch) = (Array(bytes[..<middle]), Array(bytes[(middle + 1)...]))
        let merged = target.withUnsafeBytes { target in
            patch.withUnsafeBytes { try? JSON.mergePatch(target: target, patch: $0, maxDepth: maxDepth) }
        }
        let references = (ReferenceJSON(target, maxDepth: maxDepth), ReferenceJSON(patch, maxDepth: maxDepth))
        guard let before = references.0, let change = references.1 else {
            must(merged == nil, "merged what is no JSON")
            return 0
        }
        guard let merged else {
            must(false, "did not merge what is JSON")
            return 0
        }
        let result = ReferenceJSON(merged, maxDepth: maxDepth)
        // New members of one name come at the first place in the patch here, at the last one in the reference.
        must(result.map(sorted) == sorted(ReferenceJSON.mergePatch(before, change)), "another result")
        return 0
    }

    private static func sorted(_ json: ReferenceJSON) -> ReferenceJSON {
        switch json {
        case .object(let members):
            let inner = members.map { ReferenceJSON.Member(name: $0.name, value: sorted($0.value)) }
            return .object(inner.sorted { $0.name.lexicographicallyPrecedes($1.name) })
        case .array(let elements): return .array(elements.map(sorted))
        case .string, .other: return json
        }
    }
}
