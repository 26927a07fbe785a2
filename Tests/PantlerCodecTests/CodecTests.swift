import PantlerCodec
import Support
import Testing

@Suite("Deflating")
struct CodecTests {
    /// Bytes of which about `alphabet` are different: the fewer, the better they deflate.
    private func bytes(_ count: Int, alphabet: UInt8, _ random: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0..<alphabet, using: &random) }
    }

    @Test("what was deflated comes back, at every level and from one stream used again and again")
    func roundTrips() throws {
        var random = SeededGenerator()
        var deflater = try Deflater()
        var inflater = try Inflater()
        for round in 0..<300 {
            let original = bytes(Int.random(in: 0...20_000, using: &random), alphabet: 12, &random)
            let level = round % 11  // 0 and 10 are moved to 1 and 9
            guard let deflated = try deflater.deflate(original, level: level) else {
                #expect(original.count < 100, "\(random)")
                continue
            }
            #expect(deflated.count <= original.count - original.count / 8, "\(random)")
            #expect(try inflater.inflate(deflated, size: original.count) == original, "\(random), level \(level)")
        }
    }

    @Test("a higher level makes a smaller result")
    func levels() throws {
        var deflater = try Deflater(level: 9)
        let rows = (0..<2000).map {
            #"{"id":\#($0),"name":"user \#($0 * 7919 % 1000)","email":"u\#($0 * 31 % 500)@example.com"}"#
        }
        let text = Array(rows.joined(separator: ",").utf8)
        let fast = try #require(try deflater.deflate(text, level: 1))
        let small = try #require(try deflater.deflate(text, level: 9))
        #expect(small.count < fast.count)
        #expect(try deflater.deflate(text, level: 1) == fast)
    }

    @Test("what does not shrink by an eighth is left alone, and the stream goes on working")
    func doesNotPay() throws {
        var random = SeededGenerator()
        var deflater = try Deflater()
        var inflater = try Inflater()
        for count in [0, 1, 7, 8, 9, 100, 5000, 200_000] {
            #expect(try deflater.deflate(random.bytes(count), level: 6) == nil, "\(count)")
        }
        let smooth = [UInt8](repeating: 3, count: 1000)
        let deflated = try #require(try deflater.deflate(smooth, level: 6))
        #expect(try inflater.inflate(deflated, size: 1000) == smooth)
    }

    @Test("the line is drawn at an eighth: noise with a smooth tenth stays plain, with a smooth fifth it does not")
    func line() throws {
        var random = SeededGenerator()
        var deflater = try Deflater()
        let smooth = [UInt8](repeating: 0, count: 10_000)
        #expect(try deflater.deflate(random.bytes(9000) + smooth.prefix(1000), level: 6) == nil, "\(random)")
        #expect(try deflater.deflate(random.bytes(8000) + smooth.prefix(2000), level: 6) != nil, "\(random)")
    }

    @Test("a wrong size is refused", arguments: [0, 1, 998, 999, 1001, 1002, 50_000, -1])
    func wrongSize(size: Int) throws {
        var deflater = try Deflater()
        var inflater = try Inflater()
        let deflated = try #require(try deflater.deflate((0..<1000).map { UInt8($0 / 8 % 256) }, level: 6))
        #expect { try inflater.inflate(deflated, size: size) } throws: { ($0 as? ZlibError)?.cause == .corrupt }
    }

    @Test("a size that no input of this length can have is refused before memory is taken for it")
    func hugeSize() throws {
        var inflater = try Inflater()
        let error = #expect(throws: ZlibError.self) { try inflater.inflate([1, 2, 3, 4], size: 1 << 40) }
        #expect(error?.description.contains("4 deflated bytes cannot become 1099511627776") == true)
        #expect(throws: ZlibError.self) { try inflater.inflate([1, 2, 3, 4], size: .max) }
    }

    @Test("bytes cut off, added or changed are found, and the stream goes on working")
    func damage() throws {
        var random = SeededGenerator()
        var deflater = try Deflater()
        var inflater = try Inflater()
        let original = bytes(3000, alphabet: 9, &random)
        let deflated = try #require(try deflater.deflate(original, level: 6))
        for length in 0..<deflated.count {
            #expect(throws: ZlibError.self) { try inflater.inflate(Array(deflated.prefix(length)), size: 3000) }
        }
        #expect(throws: ZlibError.self) { try inflater.inflate(deflated + [0], size: 3000) }
        var accepted = 0
        for place in deflated.indices {
            var damaged = deflated
            damaged[place] ^= UInt8.random(in: 1...255, using: &random)
            // Some bits pad the end of the stream and say nothing, and zlib's Adler-32 overlooks some changes of neighbouring bytes;
            // the disk tier has a CRC over its rows for that.
            if let answer = try? inflater.inflate(damaged, size: 3000) {
                #expect(answer.count == 3000, "\(random), byte \(place)")
                accepted += 1
            }
        }
        #expect(accepted <= deflated.count / 100, "\(random)")
        #expect(try inflater.inflate(deflated, size: 3000) == original)
    }

    @Test("random bytes are never taken for a stream")
    func noise() throws {
        var random = SeededGenerator()
        var inflater = try Inflater()
        for _ in 0..<2000 {
            let noise = random.bytes(Int.random(in: 0...60, using: &random))
            #expect(throws: ZlibError.self, "\(random)") {
                try inflater.inflate(noise, size: Int.random(in: 0...1000, using: &random))
            }
        }
    }

    @Test("the checksum is CRC-32, whatever the pieces")
    func checksum() {
        var sum = Checksum()
        Array("123456789".utf8).withUnsafeBytes { sum.add($0) }
        #expect(sum.value == 0xcbf4_3926)  // the check value of RFC 1952's CRC
        var pieces = Checksum()
        for piece in ["1234", "", "56789"] { Array(piece.utf8).withUnsafeBytes { pieces.add($0) } }
        pieces.add(UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(pieces.value == 0xcbf4_3926)
        pieces.add(0)
        #expect(pieces.value != 0xcbf4_3926)
    }

    @Test("the beginning of a checksum's bytes can be exchanged without the rest", arguments: [0, 1, 7, 4096, 100_001])
    func exchanging(rest: Int) {
        var generator = SeededGenerator()
        func random(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: 0...255, using: &generator) } }
        func sum(_ pieces: [UInt8]...) -> Checksum {
            var sum = Checksum()
            for piece in pieces { piece.withUnsafeBytes { sum.add($0) } }
            return sum
        }
        let (old, new, rest) = (random(40), random(57), random(rest))
        let exchanged = Checksum.exchanging(sum(old, rest).value, sum(old), for: sum(new), restBytes: rest.count)
        #expect(exchanged == sum(new, rest).value)
    }
}
