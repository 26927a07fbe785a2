import PantlerJSON
import Testing

import struct Support.SeededGenerator

/// Random and mutated texts, judged by a plain recursive reading, in memory that ends where they end.
@Suite("Fuzz")
struct FuzzTests {
    private static let maxDepth = 6

    @Test("mutated texts are accepted exactly when the reference accepts them")
    func mutations() {
        var source = RandomJSON(random: .announced("mutations"))
        var accepted = 0
        let rounds = 12_000
        for round in 0..<rounds {
            var bytes = Array(source.value(depth: 5).utf8)
            if round % 8 != 0 {
                for _ in 0..<Int.random(in: 1...3, using: &source.random) { mutate(&bytes, &source.random) }
            }
            let reference = ReferenceJSON(bytes, maxDepth: Self.maxDepth)
            let verdict = guarded(bytes) { isValid($0) }
            #expect(verdict == (reference != nil), "\(text(bytes).debugDescription) \(bytes)")
            if verdict { accepted += 1 }
            guarded(bytes) { probe($0, isValid: verdict, reference: reference) }
        }
        // Both verdicts must be common, or the comparison says little.
        #expect(accepted > rounds / 8 && accepted < rounds * 7 / 8, "\(accepted) of \(rounds) accepted")
    }

    @Test("merge patches give what the pseudo-code of RFC 7396 gives")
    func merges() throws {
        var source = RandomJSON(random: .announced("merges"))
        for _ in 0..<6000 {
            let target = Bool.random(using: &source.random) ? source.object(depth: 4) : source.value(depth: 4)
            let patch = source.object(depth: 4)
            let merged = try guarded(target) { target in
                try guarded(patch) { try JSON.mergePatch(target: target, patch: $0, maxDepth: Self.maxDepth) }
            }
            let expected = ReferenceJSON.mergePatch(
                try #require(ReferenceJSON(Array(target.utf8), maxDepth: Self.maxDepth)),
                try #require(ReferenceJSON(Array(patch.utf8), maxDepth: Self.maxDepth))
            )
            // New members of one name come at the first place in the patch here, at the last one in the reference.
            let result = ReferenceJSON(merged, maxDepth: Self.maxDepth)
            #expect(result.map(sorted) == sorted(expected), "\(target) + \(patch) = \(text(merged))")
        }
    }

    @Test("merging bytes that may be no JSON never reads beyond them, and gives JSON or an error")
    func mutatedMerges() {
        var source = RandomJSON(random: .announced("mutated merges"))
        for _ in 0..<4000 {
            var target = Array(source.object(depth: 3).utf8)
            var patch = Array(source.object(depth: 3).utf8)
            mutate(&target, &source.random)
            mutate(&patch, &source.random)
            let merged = guarded(target) { target in
                guarded(patch) { try? JSON.mergePatch(target: target, patch: $0, maxDepth: Self.maxDepth) }
            }
            let isMergeable = guarded(target) { isValid($0) } && guarded(patch) { isValid($0) }
            #expect((merged != nil) == isMergeable)
            if let merged { #expect(guarded(merged) { isValid($0) }, "\(text(merged))") }
        }
    }

    private func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        (try? JSON.validate(bytes, maxDepth: Self.maxDepth)) != nil
    }

    /// Puts the rest of the interface to work on the same bytes.
    private func probe(_ bytes: UnsafeRawBufferPointer, isValid: Bool, reference: ReferenceJSON?) {
        let value = bytes.slice(JSON.trimmed(bytes))
        let members = try? readMembers(bytes)
        let elements = try? readElements(bytes)
        switch reference {
        case .object(let expected)?:
            let names = expected.map { String(decoding: $0.name, as: UTF16.self) }
            // A name that is no Unicode text is an error to the reader.
            let isText = zip(names, expected).allSatisfy { Array($0.utf16) == $1.name }
            #expect(isText ? members?.map { Array($0.utf8) } == names.map { Array($0.utf8) } : members == nil)
        case .array(let expected)?:
            #expect(elements == expected.count)
        case .string(let units)?:
            let decoded = String(decoding: units, as: UTF16.self)
            let string = try? JSON.string(value)
            #expect(string.map { Array($0.utf16) } == (Array(decoded.utf16) == units ? units : nil))
        case .other?, nil:
            #expect(members == nil && elements == nil)
            #expect(JSON.integer(value) == nil || Int64(value.text) == JSON.integer(value))
        }
        let isNumber = isValid && JSON.type(of: value[0]) == .number
        #expect((JSON.milliseconds(fromSeconds: value) != .notANumber) == isNumber)
        #expect(isNumber || JSON.number(value) == nil)
        var literal: [UInt8] = []
        JSON.appendString(bytes, to: &literal)
        #expect((try? JSON.validate(literal, maxDepth: 0)) != nil)
        #expect(JSON.needsEscaping(bytes) == bytes.contains { $0 < 0x20 || $0 == 0x22 || $0 == 0x5c })
        _ = Base64.decode(bytes)
    }

    private func readMembers(_ bytes: UnsafeRawBufferPointer) throws -> [String] {
        var reader = try JSONObjectReader(bytes, maxDepth: Self.maxDepth)
        var names: [String] = []
        while let member = try reader.next() { names.append(member.name.text) }
        return names
    }

    private func readElements(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        var reader = try JSONArrayReader(bytes, maxDepth: Self.maxDepth)
        var count = 0
        while try reader.next() != nil { count += 1 }
        return count
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        let place = Int.random(in: 0...bytes.count, using: &random)
        let tokens = [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "0", "-", ".", "e", "E+", "true", "null", " ",
            "\n", "\t", "\u{0}",
            "\u{1f}", "é", "\u{feff}", "1", "/", "\"a\":1,", ",1", "[]", "{}",
        ]
        switch Int.random(in: 0..<7, using: &random) {
        case 0 where place < bytes.count:
            bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1 where place < bytes.count:
            bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 2:
            bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...4, using: &random)))
        case 3:
            let end = min(bytes.count, place + Int.random(in: 1...8, using: &random))
            bytes.insert(contentsOf: Array(bytes[place..<end]), at: Int.random(in: 0...bytes.count, using: &random))
        case 4:
            bytes.removeLast(bytes.count - place)
        default:
            bytes.insert(contentsOf: random.pick(tokens).utf8, at: place)
        }
    }

    /// With the members of objects ordered by name; members of one name stay in their order.
    private func sorted(_ json: ReferenceJSON) -> ReferenceJSON {
        switch json {
        case .object(let members):
            let inner = members.map { ReferenceJSON.Member(name: $0.name, value: sorted($0.value)) }
            return .object(inner.sorted { $0.name.lexicographicallyPrecedes($1.name) })
        case .array(let elements): return .array(elements.map(sorted))
        case .string, .other: return json
        }
    }
}
