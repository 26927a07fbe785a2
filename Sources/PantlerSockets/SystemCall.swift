import Glibc
internal import NIOCore

/// Makes a system call, again where a signal has interrupted it.
///
/// - Parameter name: for the error.
/// - Throws: `IOError` where it returns less than 0.
func checked(_ name: String, _ call: () -> CInt) throws -> CInt {
    let result = retried { Int(call()) }
    if result < 0 { throw IOError(errnoCode: CInt(-result), reason: name) }
    return CInt(result)
}

/// The same for calls whose errors are dealt with where they are made.
///
/// - Returns: what the call returns, or the error's number, negated.
func retried(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 { return result }
        if errno != EINTR { return -Int(errno) }
    }
}
