import PantlerModel

/// What is known of an entry before the file is looked at.
enum EntryLookup: Sendable {
    /// All is known: the entry, or that there is none.
    case known(Entry?)
    /// The row has to be read, and the touches done to it.
    case below(Touches)

    /// Touches in the order in which they are to be done.
    struct Touches: Sendable {
        private var touches: [Touch] = []

        /// Takes account of a change that came before those so far.
        ///
        /// - Returns: the entry, where nothing earlier matters: `nil` within, if there is none then.
        mutating func end(_ change: EntryChange?) -> Entry?? {
            switch change {
            case nil: return nil
            case .delete: return .some(nil)
            case .put(let entry, _): return .some(applied(to: entry))
            case .touch(let touch):
                touches.insert(touch, at: 0)
                return nil
            }
        }

        /// What the touches make of what the row holds.
        func applied<Item: Headed>(to item: Item?) -> Item? {
            touches.isEmpty ? item : touches.reduce(item) { item, touch in item.flatMap { touch.applied(to: $0) } }
        }
    }
}
