import CZlib

/// The memory of a `z_stream`.
///
/// zlib's own state points back at the stream ("the application must not copy it", zlib.h), so that it needs one address for life:
/// an allocation of its own, and not a stored property.
struct ZlibStream: ~Copyable {
    let pointer: UnsafeMutablePointer<z_stream>

    init() {
        pointer = .allocate(capacity: 1)
        pointer.initialize(to: z_stream())
    }

    deinit {
        pointer.deinitialize(count: 1)
        pointer.deallocate()
    }

    /// Largest buffer that one call hands over: zlib counts in 32 bits.
    static let limit = Int(UInt32.max)

    /// Points the stream at its input and output.
    ///
    /// zlib never writes through `next_in`; its type is mutable only where the header is compiled without ZLIB_CONST.
    func point(at input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) {
        let source = input.bindMemory(to: UInt8.self)
        let target = output.bindMemory(to: UInt8.self)
        pointer.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
        pointer.pointee.avail_in = UInt32(source.count)
        pointer.pointee.next_out = target.baseAddress
        pointer.pointee.avail_out = UInt32(target.count)
    }

    /// Forgets both: they are valid only as long as the call that they were given to.
    func unpoint() {
        pointer.pointee.next_in = nil
        pointer.pointee.avail_in = 0
        pointer.pointee.next_out = nil
        pointer.pointee.avail_out = 0
    }

    func error(_ code: Int32) -> ZlibError {
        ZlibError(code: code, message: UnsafePointer(pointer.pointee.msg))
    }
}
