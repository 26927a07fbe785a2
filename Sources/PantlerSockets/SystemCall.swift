import Glibc
internal import NIOCore

/// Makes a system call, again where a signal has interrupted it.
///
/// - Parameter name: for the error.
/// - Throws: `IOError` where it returns less than 0.
func checked(_ name: String, _ call: () -> CInt) throws -> CInt {
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw IOError(errnoCode: code, reason: name) }
    }
}
