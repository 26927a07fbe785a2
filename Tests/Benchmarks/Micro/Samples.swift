internal import Foundation
internal import PantlerModel

/// The data that is measured with: entries as the load scripts have them, about 220 bytes of JSON.
enum Samples {
    static func key(_ number: Int) -> [UInt8] {
        Array("user:profile:\(String(format: "%08d", number))".utf8)
    }

    static func value(_ number: Int) -> [UInt8] {
        let text = """
            {"id":\(number),"name":"user \(number)","email":"user\(number)@example.com","active":true,"score":\(number).25,\
            "tags":["alpha","beta","gamma"],"created":"2026-01-12T10:00:00Z","bio":"\(String(repeating: "x", count: 67))"}
            """
        return Array(text.utf8)
    }

    /// An object of samples, with as much in it that does not deflate as lists of records tend to have.
    static func document(members: Int) -> [UInt8] {
        var generator = SplitMix(state: 11)
        let parts = (0..<members).map { number in
            let token = String(generator.next(), radix: 16) + String(generator.next(), radix: 16)
            return "\"\(token)\":" + String(decoding: value(number &* 7919), as: UTF8.self)
        }
        return Array(("{" + parts.joined(separator: ",") + "}").utf8)
    }

    /// 0..<count in an order without pattern, the same in every run.
    static func shuffled(_ count: Int) -> [Int] {
        var generator = SplitMix(state: 7)
        return (0..<count).shuffled(using: &generator)
    }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}

extension EntryHash {
    /// Where the samples of these numbers live in a namespace.
    func addresses(_ numbers: some Sequence<Int>, in namespace: NamespaceID) -> [EntryAddress] {
        numbers.map { number in
            let key = Samples.key(number)
            return EntryAddress(namespace: namespace, key: key, hash: hash(namespace: namespace, key: key))
        }
    }
}
