import CZlib

/// Brings deflated values back. Keeps one stream and uses it again and again; not for two threads at once.
package struct Inflater: ~Copyable {
    private let stream = ZlibStream()

    /// - Throws: when there is no memory for the stream.
    package init() throws(ZlibError) {
        let code = inflateInit2_(stream.pointer, 15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard code == Z_OK else { throw stream.error(code) }
    }

    deinit {
        _ = inflateEnd(stream.pointer)
    }

    /// The original of `input`, which has exactly `size` bytes.
    ///
    /// `size` comes from where it may have been damaged: it is believed only as far as deflate can swell (1032 bytes for one, "zlib
    /// technical details"), and the stream has to end exactly there, with no byte of input left over.
    ///
    /// - Throws: `.corrupt` when any of that does not hold. Complexity: O(length of both).
    package mutating func inflate(_ input: UnsafeRawBufferPointer, size: Int) throws(ZlibError) -> [UInt8] {
        guard size >= 0, size <= input.count.multipliedReportingOverflow(by: 1032).partialValue,
            input.count <= ZlibStream.limit, size <= ZlibStream.limit
        else { throw ZlibError(.corrupt, "\(input.count) deflated bytes cannot become \(size)") }
        var code = inflateReset(stream.pointer)
        guard code == Z_OK else { throw stream.error(code) }
        defer { stream.unpoint() }
        var left = 0
        // At least a byte of room: zlib refuses an output without an address.
        let output = [UInt8](unsafeUninitializedCapacity: max(size, 1)) { buffer, written in
            let room = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<max(size, 1)])
            stream.point(at: input, into: room)
            code = CZlib.inflate(stream.pointer, Z_FINISH)
            written = room.count - Int(stream.pointer.pointee.avail_out)
            left = Int(stream.pointer.pointee.avail_in)
        }
        switch code {
        case Z_STREAM_END:
            guard output.count == size, left == 0 else {
                throw ZlibError(
                    .corrupt,
                    "the stream ends after \(output.count) bytes, not \(size); \(left) bytes follow it"
                )
            }
            return output
        case Z_OK, Z_BUF_ERROR:
            throw ZlibError(.corrupt, "the stream does not end after \(size) bytes")
        default:
            throw stream.error(code)
        }
    }

    package mutating func inflate(_ input: [UInt8], size: Int) throws(ZlibError) -> [UInt8] {
        let result = input.withUnsafeBytes { bytes in
            Result { () throws(ZlibError) in try inflate(bytes, size: size) }
        }
        return try result.get()
    }
}
