/// Writes the parts of a benchmark's requests as bytes, without making strings.
enum BenchBytes {
    /// Letters that values are cut from: random, so that they deflate no better than they would in life.
    private static let letters: [UInt8] = {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -".utf8)
        var generator = Xorshift(seed: 0x2545_f491_4f6c_dd1d)
        return (0..<1 << 16).map { _ in alphabet[Int(generator.next() >> 58)] }
    }()

    /// A JSON string of `size` bytes with its quotes; sizes below 2 are a figure of one byte.
    ///
    /// - Parameter key: different keys have different letters.
    static func append(valueOf size: Int, key: UInt32, to bytes: inout [UInt8]) {
        guard size >= 2 else { return bytes.append(UInt8(ascii: "1")) }
        bytes.append(UInt8(ascii: "\""))
        var left = size - 2
        var offset = Int(key &* 2_654_435_761) % letters.count
        while left > 0 {
            let count = min(left, letters.count - offset)
            bytes += letters[offset..<offset + count]
            left -= count
            offset = 0
        }
        bytes.append(UInt8(ascii: "\""))
    }

    static func append(_ number: UInt32, to bytes: inout [UInt8]) {
        let start = bytes.count
        var rest = number
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    /// How many digits a number has.
    static func digits(_ number: UInt32) -> Int {
        var count = 1
        var rest = number / 10
        while rest > 0 {
            count += 1
            rest /= 10
        }
        return count
    }
}

/// Marsaglia's xorshift ("Xorshift RNGs", 2003): quick, and the same numbers in every run.
struct Xorshift: RandomNumberGenerator {
    private var state: UInt64

    /// - Parameter seed: not 0, which would stay 0 for ever.
    init(seed: UInt64) {
        state = seed == 0 ? 1 : seed
    }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
