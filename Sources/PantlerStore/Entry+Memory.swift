import PantlerMemory
import PantlerModel

// Conversions between an `Entry`, which is a value that can travel, and the bytes that the memory tier has of an entry.

extension Entry {
    /// Copies an entry out of memory. Complexity: O(size).
    ///
    /// - Parameter hasValue: `false` leaves the value out.
    init(_ view: EntryView, hasValue: Bool = true) {
        self.init(
            value: hasValue ? Array(view.value) : [],
            kind: ValueKind(mediaType: view.isJSON ? nil : String(decoding: view.mediaType, as: UTF8.self)),
            version: view.version,
            expiresAt: view.expiresAt,
            staleTTL: view.staleTTL,
            tags: view.tags()
        )
    }

    /// Shows the entry to `body` in the form in which the memory tier takes it. What is shown is valid during the call.
    func withContent<Answer>(_ large: LargeValue?, _ body: (EntryContent) -> Answer) -> Answer {
        value.withUnsafeBytes { value in
            withMediaType { mediaType in
                body(
                    EntryContent(
                        value: value,
                        isJSON: kind == .json,
                        mediaType: mediaType,
                        tags: tags,
                        version: version,
                        expiresAt: expiresAt,
                        staleTTL: staleTTL,
                        largeValue: large
                    )
                )
            }
        }
    }

    /// Shows the entry to `body` as it would look in memory. What is shown is valid during the call.
    ///
    /// - Parameter large: shown in place of the entry's own value; `nil` = that is shown.
    func withView(_ address: EntryAddress, _ large: LargeValue?, _ body: (EntryView) -> Void) {
        let encodedTags = TagList.encode(tags)
        address.key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                withMediaType { mediaType in
                    encodedTags.withUnsafeBytes { encodedTags in
                        body(
                            EntryView(
                                key: key,
                                value: large?.bytes ?? value,
                                isJSON: kind == .json,
                                mediaType: mediaType,
                                encodedTags: encodedTags,
                                hash: address.hash,
                                version: version,
                                expiresAt: expiresAt,
                                staleTTL: staleTTL
                            )
                        )
                    }
                }
            }
        }
    }

    private func withMediaType<Answer>(_ body: (UnsafeRawBufferPointer) -> Answer) -> Answer {
        guard case .bytes(var mediaType) = kind else { return body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return mediaType.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}

extension LargeValue {
    /// A copy of a value for which memory has an allocation of its own; `nil` for a smaller value, or when there is no memory.
    static func copy(of value: [UInt8]) -> LargeValue? {
        guard value.count > MemoryTier.largeValueBytes else { return nil }
        return value.withUnsafeBytes { LargeValue(copying: $0) }
    }
}
