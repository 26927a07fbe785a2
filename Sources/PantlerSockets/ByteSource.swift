/// Bytes that a socket sends from where they are, as far as the kernel takes them: they are neither copied nor all there at once. On the
/// socket's loop.
package protocol ByteSource: AnyObject {
    /// Bytes that are still to be sent.
    var remaining: Int { get }

    /// The next of them, at least one while some remain. They stay where they are until `advance`.
    func next() -> UnsafeRawBufferPointer

    /// The first `count` of those that were shown have gone.
    func advance(by count: Int)
}
