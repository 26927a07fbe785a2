internal import CPantler
internal import PantlerJSON
internal import Yams

/// `openapi/openapi.yaml`, which the compiler has put into the executable.
enum OpenAPIDocument {
    static let bytes = [UInt8](UnsafeRawBufferPointer(start: pantler_openapi(), count: pantler_openapi_size()))

    /// The same in JSON, made when it is first asked for: that takes some ten milliseconds.
    static let json = json(of: String(decoding: bytes, as: UTF8.self))

    /// A YAML document in JSON, with its mappings in their order; empty for one that is none.
    static func json(of yaml: String) -> [UInt8] {
        guard let node = try? Yams.compose(yaml: yaml) else { return [] }
        var writer = JSONWriter(capacity: yaml.utf8.count)
        write(node, to: &writer)
        return writer.bytes
    }

    private static func write(_ node: Node, to writer: inout JSONWriter) {
        switch node {
        case .mapping(let mapping):
            writer.beginObject()
            for (name, value) in mapping {
                writer.member(name.string ?? "")
                write(value, to: &writer)
            }
            writer.endObject()
        case .sequence(let sequence):
            writer.beginArray()
            for element in sequence { write(element, to: &writer) }
            writer.endArray()
        case .scalar(let scalar): write(scalar, to: &writer)
        case .alias: writer.null()
        }
    }

    private static func write(_ scalar: Node.Scalar, to writer: inout JSONWriter) {
        // What is quoted, or stands in a block, is a string whatever it looks like.
        let text = scalar.string
        switch (scalar.style, text) {
        case (.plain, "null"), (.plain, "~"), (.plain, ""): writer.null()
        case (.plain, "true"), (.plain, "false"): writer.bool(text == "true")
        case (.plain, _) where Array(text.utf8).withUnsafeBytes({ JSON.number($0) }) != nil: writer.raw(text.utf8)
        default: writer.string(text)
        }
    }
}
