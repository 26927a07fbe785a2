/// Tags as bytes: a byte of length, then the tag, for each. In memory, in rows and in the journal alike.
package enum TagList {
    package static func encode(_ tags: [EntryTag]) -> [UInt8] {
        var bytes: [UInt8] = []
        for tag in tags {
            // At most `Limits.tagBytes`, which a byte counts.
            let text = tag.text.utf8.prefix(Limits.tagBytes)
            bytes.append(UInt8(text.count))
            bytes += text
        }
        return bytes
    }

    /// `nil` where the lengths do not add up, or a tag is not UTF-8. Complexity: O(tags), an allocation for each that has more than 15
    /// bytes.
    package static func decode(_ bytes: UnsafeRawBufferPointer) -> [EntryTag]? {
        var tags: [EntryTag] = []
        var rest = bytes[...]
        while let length = rest.popFirst() {
            guard rest.count >= Int(length), let tag = EntryTag(validating: rest.prefix(Int(length))) else {
                return nil
            }
            tags.append(tag)
            rest.removeFirst(Int(length))
        }
        return tags
    }
}
