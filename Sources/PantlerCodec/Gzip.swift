import CZlib

/// Texts made shorter on their way to a client, in the format of RFC 1952. What is kept goes through a `Deflater`.
package enum Gzip {
    /// The fastest level: these texts are full of names that repeat, and come out at a tenth all the same.
    private static let level: Int32 = 1

    /// - Returns: `nil` where there is no memory for it.
    /// - Complexity: O(length), about a millisecond for 100 KB.
    package static func encode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count <= ZlibStream.limit / 2 else { return nil }
        let stream = ZlibStream()
        // 16 more than the window's 15 bits say gzip's header and trailer.
        let code = deflateInit2_(
            stream.pointer,
            level,
            Z_DEFLATED,
            15 + 16,
            8,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        guard code == Z_OK else { return nil }
        defer { _ = deflateEnd(stream.pointer) }
        let room = Int(deflateBound(stream.pointer, UInt(text.count)))
        var result = Z_OK
        let encoded = [UInt8](unsafeUninitializedCapacity: room) { buffer, written in
            stream.point(at: text, into: UnsafeMutableRawBufferPointer(buffer))
            result = deflate(stream.pointer, Z_FINISH)
            written = room - Int(stream.pointer.pointee.avail_out)
        }
        stream.unpoint()
        return result == Z_STREAM_END ? encoded : nil
    }
}
