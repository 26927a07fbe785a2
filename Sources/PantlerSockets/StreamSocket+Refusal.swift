internal import Glibc
package import NIOCore

extension StreamSocket {
    /// Ends a connection that was just accepted, without making a socket of it: a few system calls, and nothing that lasts.
    ///
    /// The answer reaches most clients, and not all. What a client has sent so far is read, so that closing does not reset the connection;
    /// what it sends after that does, and it may find that before it reads.
    ///
    /// - Parameter answer: sent as far as the kernel takes it at once.
    package static func refuse(_ descriptor: CInt, with answer: ByteBuffer) {
        if answer.readableBytes > 0 {
            _ = answer.withUnsafeReadableBytes { bytes in
                retried { Glibc.send(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL)) }
            }
            Glibc.shutdown(descriptor, CInt(SHUT_WR))
            withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 1) { bytes in
                _ = retried { Glibc.recv(descriptor, bytes.baseAddress, bytes.count, 0) }
            }
        }
        Glibc.close(descriptor)
    }
}
