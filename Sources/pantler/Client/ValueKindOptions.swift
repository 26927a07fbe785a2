internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

/// What a value is stored as.
struct ValueKindOptions: ParsableArguments {
    enum Kind: String, CaseIterable, ExpressibleByArgument {
        case json, text, bytes
    }

    @Option(help: "json: must be valid JSON; text: text/plain; bytes: application/octet-stream.")
    var type: Kind?

    @Option(help: "Store bytes under this media type, as in image/png.")
    var contentType: String?

    func validate() throws {
        if type == .json, contentType != nil {
            throw ValidationError("--content-type is for bytes; --type json has application/json.")
        }
    }

    /// Where the JSON stands in a value that is to be stored as such; `nil` for one that is to be stored as bytes.
    ///
    /// - Throws: a usage failure where it has to be JSON, and is none.
    func json(in value: [UInt8]) throws(CommandFailure) -> Range<Int>? {
        guard contentType == nil, type == nil || type == .json else { return nil }
        do {
            return try JSON.validate(value, maxDepth: Limits.jsonDepth)
        } catch {
            if type == nil { return nil }
            throw CommandFailure(
                .usage,
                code: "invalid_json",
                "\(error) --type text or --type bytes stores the value as it is."
            )
        }
    }

    /// The media type of a value that is stored as bytes.
    func mediaType(of value: [UInt8]) -> String {
        if let contentType { return contentType }
        switch type {
        case .text: return "text/plain; charset=utf-8"
        case .bytes: return "application/octet-stream"
        default:
            return String(validating: value, as: UTF8.self) == nil
                ? "application/octet-stream" : "text/plain; charset=utf-8"
        }
    }
}

extension JSONWriter {
    /// The members of an envelope that give a value as bytes.
    mutating func bytes(_ value: [UInt8], contentType: String) {
        member("value_base64")
        value.withUnsafeBytes { base64($0) }
        member("content_type")
        string(contentType)
    }
}
