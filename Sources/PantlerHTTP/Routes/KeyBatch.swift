import PantlerJSON
import PantlerModel

/// The keys that the body of a batch lists, one after the other in one piece of memory.
struct KeyBatch: Sendable {
    /// A copy of the body, and behind it the keys that had escapes, decoded.
    private let text: [UInt8]
    /// Where in `text` each key stands. A key that was named several times is here once, in the place of its first naming.
    let places: [Range<Int>]
    /// Bytes that the keys take at most as JSON strings, with a comma each.
    let namesBytes: Int

    /// What the body of a batch of keys may hold.
    private enum Member: String, Sendable {
        case keys
    }

    /// Reads the body of `batch/get` and `batch/delete`, in one pass if nothing is wrong with it.
    ///
    /// - Throws: what is wrong with the body; its JSON is judged before its keys.
    init(_ body: UnsafeRawBufferPointer) throws(Problem) {
        var text: [UInt8] = []
        var places: [Range<Int>] = []
        if let strings = try Self.strings(body) {
            try Self.checkCount(strings.count)
            text = Array(body)
            places.reserveCapacity(strings.literals.count)
            for literal in strings.literals {
                if literal.hasEscapes {
                    let key = try KeyForm.read(body.slice(literal.range))
                    places.append(text.count..<text.count + key.count)
                    text += key
                } else {
                    let place = literal.range.lowerBound + 1..<literal.range.upperBound - 1
                    try KeyForm.check(unescaped: place.count)
                    places.append(place)
                }
            }
        } else {
            // The body has something that no valid batch has. Reading it like any other object finds out what.
            let members = try Members<Member>(body, allowed: [.keys])
            try members.checkUnknown()
            guard let element = members[.keys] else {
                throw Problem(.missingMember, "'keys' is needed: an array of keys.")
            }
            self = try KeyBatch(element)
            return
        }
        self.text = text
        self.places = Self.distinct(places, in: text)
        // A key that came without escapes is written without. Another one may need them for all of its bytes.
        namesBytes = self.places.reduce(0) { bytes, place in
            bytes + 3 + (place.lowerBound < body.count ? place.count : 6 * place.count)
        }
    }

    /// Reads an array of keys. Throws what is wrong with it.
    init(_ element: JSONElement) throws(Problem) {
        var text: [UInt8] = []
        var places: [Range<Int>] = []
        for key in try Self.keys(element) {
            places.append(text.count..<text.count + key.count)
            text += key
        }
        self.text = text
        self.places = Self.distinct(places, in: text)
        // Each byte may need an escape.
        namesBytes = self.places.reduce(0) { $0 + 3 + 6 * $1.count }
    }

    /// The seed is random for each run, so that nobody can choose keys that collide.
    private static let hashing = EntryHash(seed: .random(in: .min ... .max))

    /// The places without those of keys that stand at an earlier place, too. Complexity: O(keys).
    private static func distinct(_ places: [Range<Int>], in text: [UInt8]) -> [Range<Int>] {
        if places.count < 2 { return places }
        var distinct: [Range<Int>] = []
        distinct.reserveCapacity(places.count)
        var capacity = 4
        while capacity < 2 * places.count { capacity *= 2 }
        text.withUnsafeBytes { text in
            withUnsafeTemporaryAllocation(of: UInt16.self, capacity: capacity) { table in
                // The table has the numbers, from 1, of places in `distinct`; 0 = free. At least half of it is free.
                table.initialize(repeating: 0)
                for place in places {
                    let key = text.slice(place)
                    var slot = Int(truncatingIfNeeded: hashing.hash(namespace: 0, key: key)) & (capacity - 1)
                    while table[slot] != 0 {
                        let other = text.slice(distinct[Int(table[slot]) - 1])
                        if other.count == key.count, other.elementsEqual(key) { break }
                        slot = (slot + 1) & (capacity - 1)
                    }
                    if table[slot] != 0 { continue }
                    distinct.append(place)
                    table[slot] = UInt16(distinct.count)
                }
            }
        }
        return distinct
    }

    var count: Int { places.count }

    subscript(index: Int) -> [UInt8] { Array(text[places[index]]) }

    /// Shows the memory that `places` are in.
    func withText(_ body: (UnsafeRawBufferPointer) -> Void) {
        text.withUnsafeBytes { body($0) }
    }

    /// The strings of a body that is valid JSON: an object of `keys` alone, which is an array of strings. `nil` for other
    /// bodies.
    private static func strings(_ body: UnsafeRawBufferPointer) throws(Problem) -> JSONStrings? {
        do throws(JSONError) {
            guard JSON.trimmed(body).first.map({ body[$0] }) == UInt8(ascii: "{") else { return nil }
            var reader = try JSONObjectReader(body, maxDepth: Limits.jsonDepth)
            guard try reader.nextName()?.says(Member.keys.rawValue) == true,
                let strings = try reader.strings(limit: Limits.batchKeys), try reader.nextName() == nil
            else { return nil }
            return strings
        } catch {
            throw Problem(json: error)
        }
    }

    // MARK: Keys by themselves

    /// The keys in the body of a batch, each by itself.
    static func read(_ body: UnsafeRawBufferPointer) throws(Problem) -> [[UInt8]] {
        let batch = try KeyBatch(body)
        return batch.places.indices.map { batch[$0] }
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

    /// Shows each element of an array to `body`. The array may have 1,000 elements; whether it has more is found out first.
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
        try checkCount(count)
        for element in elements { try body(element) }
    }

    private static func checkCount(_ count: Int) throws(Problem) {
        if count > Limits.batchKeys {
            throw Problem(.batchTooLarge, "A batch takes at most \(Limits.batchKeys); this one has \(count).")
        }
    }
}
