import PantlerModel

/// The marks of a namespace's tags, in parts that are small. However many marks there are, making room for one more or going through one
/// part takes no longer than others may wait for the lock that guards the marks.
struct TagMarks {
    static let partCount = 64

    /// Empty until there is a mark.
    private var parts: [[EntryTag: Watermark]] = []
    private(set) var count = 0

    /// Complexity: O(1), and now and then O(n / `partCount`).
    subscript(tag: EntryTag) -> Watermark? {
        get { parts.isEmpty ? nil : parts[Self.part(of: tag)][tag] }
        set {
            if parts.isEmpty {
                guard newValue != nil else { return }
                parts = Array(repeating: [:], count: Self.partCount)
            }
            let part = Self.part(of: tag)
            let before = parts[part].count
            parts[part][tag] = newValue
            count += parts[part].count - before
        }
    }

    /// The marks of one part, from 0 to below `partCount`. Complexity: O(1).
    func part(_ number: Int) -> [EntryTag: Watermark] { parts.isEmpty ? [:] : parts[number] }

    private static func part(of tag: EntryTag) -> Int {
        Int(truncatingIfNeeded: UInt(bitPattern: tag.hashValue) % UInt(partCount))
    }
}
