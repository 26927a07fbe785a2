/// Writes one JSON text in order, placing the commas. For answers off the hit path.
///
/// That brackets match and that every value of an object follows its `member` is the caller's business.
package struct JSONWriter {
    /// What has been written so far.
    package private(set) var bytes: [UInt8]
    /// Whether the next name or value follows another one in the same container.
    private var needsComma = false

    /// - Parameter capacity: bytes to reserve.
    package init(capacity: Int = 256) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    /// Takes what has been written out of here. What follows is written as if it were still there.
    package mutating func takeBytes() -> [UInt8] {
        var taken: [UInt8] = []
        swap(&taken, &bytes)
        return taken
    }

    /// Writes `{`.
    package mutating func beginObject() { open(.object) }
    /// Writes `}`.
    package mutating func endObject() { close(.object) }
    /// Writes `[`.
    package mutating func beginArray() { open(.array) }
    /// Writes `]`.
    package mutating func endArray() { close(.array) }

    /// Begins a member of an object; its value is to follow.
    package mutating func member(_ name: String) {
        separate()
        JSON.appendString(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// Writes a value that is JSON already.
    package mutating func raw(_ json: some Collection<UInt8>) {
        separate()
        bytes.append(contentsOf: json)
    }

    /// Writes a string, escaped where it must be.
    package mutating func string(_ value: String) {
        separate()
        JSON.appendString(value, to: &bytes)
    }

    /// Writes characters that are UTF-8; see `JSON.appendString`.
    package mutating func string(_ characters: [UInt8]) {
        separate()
        characters.withUnsafeBytes { JSON.appendString($0, to: &bytes) }
    }

    /// Writes an integer of any width, exactly.
    package mutating func integer(_ value: some FixedWidthInteger) {
        separate()
        JSON.appendInteger(value, to: &bytes)
    }

    /// Writes a number that reads back as the same double. Infinities and NaN become `null`.
    package mutating func number(_ value: Double) {
        separate()
        JSON.appendNumber(value, to: &bytes)
    }

    /// Writes `true` or `false`.
    package mutating func bool(_ value: Bool) {
        separate()
        bytes.append(contentsOf: value ? "true".utf8 : "false".utf8)
    }

    /// Writes `null`.
    package mutating func null() {
        separate()
        bytes.append(contentsOf: "null".utf8)
    }

    /// Writes bytes as a string in base64.
    package mutating func base64(_ value: UnsafeRawBufferPointer) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        Base64.encode(value, into: &bytes)
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func open(_ container: JSONContainer) {
        separate()
        bytes.append(container.opener)
        needsComma = false
    }

    private mutating func close(_ container: JSONContainer) {
        bytes.append(container.closer)
        needsComma = true
    }
}
