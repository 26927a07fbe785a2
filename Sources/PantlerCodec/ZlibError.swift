import CZlib

/// What zlib refused, with its own words.
package struct ZlibError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Cause: Sendable {
        /// The bytes are not the deflated form of what they are said to be.
        case corrupt
        /// zlib could not get memory, or was used wrongly.
        case failed
    }

    package var cause: Cause
    package var description: String

    init(_ cause: Cause, _ description: String) {
        self.cause = cause
        self.description = description
    }

    /// - Parameters:
    ///   - code: what the function returned.
    ///   - message: the stream's `msg`: says more than the code, where zlib sets it.
    init(code: Int32, message: UnsafePointer<CChar>?) {
        let text = message ?? zError(code)
        let words = text.map { String(cString: $0) } ?? "code \(code)"
        self.init(code == Z_DATA_ERROR || code == Z_NEED_DICT ? .corrupt : .failed, "zlib: \(words)")
    }
}
