import CZlib

/// Deflates values, when it pays. Keeps one stream of 256 KiB and uses it again and again; not for two threads at once.
///
/// The output is in zlib's format (RFC 1950): two bytes of header and a checksum of the original around the deflated data.
package struct Deflater: ~Copyable {
    private let stream = ZlibStream()
    private var level: Int32

    private static let pieceBytes = 64 << 10

    /// Deflating pays where it saves at least one part in so many.
    package static let leastGain = 8

    /// - Parameter level: 1 (fast) to 9 (small); others are moved to the nearest.
    /// - Throws: when there is no memory for the stream.
    package init(level: Int = 6) throws(ZlibError) {
        self.level = Self.clamped(level)
        let code = deflateInit2_(
            stream.pointer,
            self.level,
            Z_DEFLATED,
            15,
            8,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        guard code == Z_OK else { throw stream.error(code) }
    }

    deinit {
        // Z_DATA_ERROR says that output was pending, as it is whenever deflating did not pay. Nothing is lost then.
        _ = deflateEnd(stream.pointer)
    }

    /// The deflated form, or `nil` where it would save less than an eighth: such values are better kept plain.
    ///
    /// Complexity: O(length), and no more memory than the result may take.
    ///
    /// - Parameter pause: called after each piece of 64 KiB, which takes about a millisecond; it must not use this deflater.
    package mutating func deflate(
        _ input: UnsafeRawBufferPointer,
        level wanted: Int,
        pause: () -> Void = {}
    ) throws(ZlibError) -> [UInt8]? {
        let room = input.count - (input.count + Self.leastGain - 1) / Self.leastGain
        guard room > 0, input.count <= ZlibStream.limit else { return nil }
        var code = deflateReset(stream.pointer)
        guard code == Z_OK else { throw stream.error(code) }
        try setLevel(wanted)
        defer { stream.unpoint() }
        let output = [UInt8](unsafeUninitializedCapacity: room) { buffer, written in
            stream.point(at: input, into: UnsafeMutableRawBufferPointer(buffer))
            var left = input.count
            repeat {
                let piece = min(left, Self.pieceBytes)
                left -= piece
                stream.pointer.pointee.avail_in = UInt32(piece)
                code = CZlib.deflate(stream.pointer, left == 0 ? Z_FINISH : Z_NO_FLUSH)
                // Room is left as long as all of the piece was taken in.
                guard code == Z_OK, left > 0, stream.pointer.pointee.avail_out > 0 else { break }
                pause()
            } while true
            written = room - Int(stream.pointer.pointee.avail_out)
        }
        switch code {
        case Z_STREAM_END: return output
        case Z_OK, Z_BUF_ERROR: return nil  // the room ran out first
        default: throw stream.error(code)
        }
    }

    package mutating func deflate(
        _ input: [UInt8],
        level: Int,
        pause: () -> Void = {}
    ) throws(ZlibError) -> [UInt8]? {
        let result = input.withUnsafeBytes { bytes in
            Result { () throws(ZlibError) in try deflate(bytes, level: level, pause: pause) }
        }
        return try result.get()
    }

    private mutating func setLevel(_ wanted: Int) throws(ZlibError) {
        let wanted = Self.clamped(wanted)
        guard wanted != level else { return }
        // Right after a reset nothing is pending, so that there is nothing to flush into the missing output.
        let code = deflateParams(stream.pointer, wanted, Z_DEFAULT_STRATEGY)
        guard code == Z_OK else { throw stream.error(code) }
        level = wanted
    }

    private static func clamped(_ level: Int) -> Int32 { Int32(min(max(level, 1), 9)) }
}
