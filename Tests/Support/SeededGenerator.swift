internal import Glibc

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): random numbers that a seed brings back.
///
/// Interpolate it into a test's comments, so that a failure says which seed to set in `PANTLER_TEST_SEED`.
package struct SeededGenerator: RandomNumberGenerator, Sendable, CustomStringConvertible {
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// With the seed of `PANTLER_TEST_SEED`, or else one that differs from run to run.
    package init() {
        let wanted = getenv("PANTLER_TEST_SEED").flatMap { UInt64(String(cString: $0)) }
        self.init(seed: wanted ?? UInt64.random(in: 1...UInt64(UInt32.max)))
    }

    package var description: String { "PANTLER_TEST_SEED=\(seed)" }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// 0 up to and without 1.
    package mutating func fraction() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Bytes that nothing deflates.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            var offset = 0
            while offset < count {
                var word = next()
                for _ in 0..<min(8, count - offset) {
                    buffer[offset] = UInt8(truncatingIfNeeded: word)
                    word >>= 8
                    offset += 1
                }
            }
            initialized = count
        }
    }
}
