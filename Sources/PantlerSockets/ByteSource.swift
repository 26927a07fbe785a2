/// Bytes that a socket sends from where they are, piece by piece as the kernel takes them: they are not copied, and need not all be there at
/// once. Used on the socket's loop.
package protocol ByteSource: AnyObject {
    /// Bytes that are still to be sent.
    var remaining: Int { get }

    /// The next bytes, at least one while some remain. They stay where they are until `advance`.
    func next() -> UnsafeRawBufferPointer

    /// Notes that the kernel has taken the first `count` of the bytes that were shown.
    func advance(by count: Int)
}
