/// What kind of value a JSON text is, as its first byte tells.
package enum JSONType: Hashable, Sendable {
    case object
    case array
    case string
    case number
    case `true`
    case `false`
    case null
}

extension JSON {
    /// The type of the value that begins with `firstByte`; `nil` if no value does.
    package static func type(of firstByte: UInt8) -> JSONType? {
        switch firstByte {
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): .number
        case UInt8(ascii: "t"): .true
        case UInt8(ascii: "f"): .false
        case UInt8(ascii: "n"): .null
        default: nil
        }
    }
}
