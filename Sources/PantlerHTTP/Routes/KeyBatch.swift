import PantlerJSON
import PantlerModel

/// The keys that a body lists: those of a batch, or of an invalidation.
enum KeyBatch {
    /// What the body of a batch of keys may hold.
    private enum Member: String, Sendable {
        case keys
    }

    /// The body of `batch/get` and `batch/delete`. Throws what is wrong with it.
    static func read(_ body: UnsafeRawBufferPointer) throws(Problem) -> [[UInt8]] {
        let members = try Members<Member>(body, allowed: [.keys])
        try members.checkUnknown()
        guard let element = members[.keys] else { throw Problem(.missingMember, "'keys' is needed: an array of keys.") }
        return try keys(element)
    }

    /// Throws `member_invalid`, `batch_too_large`, or what is wrong with the first key that is none.
    static func keys(_ element: JSONElement) throws(Problem) -> [[UInt8]] {
        var keys: [[UInt8]] = []
        try each(element, member: "keys") { key throws(Problem) in
            guard key.type == .string else { throw Problem(.memberInvalid, "'keys' takes an array of strings.") }
            keys.append(try KeyForm.read(key.bytes))
        }
        return keys
    }

    /// Shows each element of an array of at most 1,000. That it is not longer is found out first.
    static func each(
        _ element: JSONElement,
        member: String,
        _ body: (JSONElement) throws(Problem) -> Void
    ) throws(Problem) {
        guard element.type == .array else { throw Problem(.memberInvalid, "'\(member)' takes an array.") }
        var elements: [JSONElement] = []
        var count = 0
        do throws(JSONError) {
            // One level more than a value may have: an entry of a batch of sets has its value within itself.
            var reader = try JSONArrayReader(element.bytes, maxDepth: Limits.jsonDepth + 1)
            while let next = try reader.next() {
                if count < Limits.batchKeys { elements.append(next) }
                count += 1
            }
        } catch {
            throw Problem(json: error)
        }
        if count > Limits.batchKeys {
            throw Problem(.batchTooLarge, "A batch takes at most \(Limits.batchKeys); this one has \(count).")
        }
        for element in elements { try body(element) }
    }
}
