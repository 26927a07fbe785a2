import PantlerModel

/// Changes that are committed together, in the order in which they came. A later change of an entry takes the place of an earlier one.
///
/// Order between different entries does not matter: each is judged by its own version.
struct Batch: Sendable {
    struct Item: Sendable {
        var ticket: WriteTicket
        var change: Change
        var bytes: Int64
        /// The version of the change whose place this one took, if it did: should this one be taken back, that one is lost too.
        var covered: Version?
        /// Whether it stands for a change that was given up, and is counted as lost already.
        var isGivenUp = false
        /// Whether someone waits for it to be synced, or will ask for that in a moment.
        var isAwaited: Bool

        init(ticket: WriteTicket, change: Change, isAwaited: Bool = false) {
            self.ticket = ticket
            self.change = change
            self.isAwaited = isAwaited
            bytes = change.bytes
            if case .control(.void) = change { isGivenUp = true }
        }

        /// Whether it is a put or a touch, which gives the entry a value or another expiry.
        var isPut: Bool {
            guard case .entry(let keyed) = change else { return false }
            switch keyed.change {
            case .put, .touch: return true
            case .delete: return false
            }
        }

        /// Joins a touch with an earlier change of the same entry.
        fileprivate mutating func follow(_ earlier: Change) {
            guard case .entry(let keyed) = change, case .touch = keyed.change, case .entry(let first) = earlier else {
                return
            }
            change = .entry(KeyedChange(keyed.address, keyed.change.following(first.change)))
            bytes = change.bytes
        }

        var isControl: Bool {
            if case .control = change { true } else { false }
        }

        /// How its value is deflated, if a thread of the `DeflaterPool` does so.
        var deflation: Deflation? {
            if case .entry(let keyed) = change { keyed.deflation } else { nil }
        }

        /// Whether it can be written now, since its value does not wait to be deflated.
        var isReady: Bool { deflation.map { !$0.isWaiting } ?? true }

        /// The version of a change of an entry; `nil` for a control.
        var version: Version? {
            if case .entry(let keyed) = change { keyed.version } else { nil }
        }

        /// A put becomes a delete, so that no older value can come back in its place.
        mutating func giveUpValue() {
            guard isPut, case .entry(let keyed) = change else { return }
            change = .entry(KeyedChange(keyed.address, .delete(version: keyed.version)))
            bytes = change.bytes
            isGivenUp = true
        }

        /// What is left to do when this change is taken back: to delete what was there before the change whose place it took. The value of that one
        /// is lost.
        var remainder: Item? {
            guard let covered, case .entry(let keyed) = change else { return nil }
            var item = Item(ticket: ticket, change: .entry(KeyedChange(keyed.address, .delete(version: covered))))
            item.isGivenUp = true
            return item
        }
    }

    private(set) var items: [Item] = []
    /// The sum over all items.
    private(set) var bytes: Int64 = 0
    private(set) var lastTicket: WriteTicket = 0
    /// Whether a change in it is awaited: it has to be synced with its commit.
    private(set) var isAwaited = false
    /// How many items came whose values a thread deflates, or has deflated.
    private var deflating = 0
    private var entries: [EntryAddress: Int] = [:]
    private var controls: [Control.Name: Int] = [:]

    init() {}

    /// Empty, with room for about as many changes as another had.
    init(like other: Batch) {
        items.reserveCapacity(min(other.count, Self.keptCapacity))
        entries.reserveCapacity(min(other.count, Self.keptCapacity))
    }

    private static let keptCapacity = 4096

    var isEmpty: Bool { items.isEmpty }
    var count: Int { items.count }

    /// Adds a change, in the place of an earlier one of the same entry if nobody waits for either of the two.
    ///
    /// - Parameter isAwaited: whether someone waits for a change, which then has to succeed or fail by itself. An awaited change does not
    ///   take another's place: should it be taken back, what was there before it stays.
    mutating func add(_ item: consuming Item, isAwaited: (borrowing Item) -> Bool) {
        lastTicket = max(lastTicket, item.ticket)
        if item.isAwaited { self.isAwaited = true }
        // Mostly there is no earlier one, and this is the only look into the dictionary.
        let earlier = setPlace(of: item.change, items.count)
        if let earlier { item.follow(items[earlier].change) }
        bytes += item.bytes
        if item.deflation != nil { deflating += 1 }
        if let earlier, !item.isAwaited, !isAwaited(items[earlier]) {
            _ = setPlace(of: item.change, earlier)
            bytes -= items[earlier].bytes
            if let covered = items[earlier].version { item.covered = max(covered, item.covered ?? 0) }
            items[earlier] = item
        } else {
            items.append(item)
        }
    }

    /// Takes out what is to be committed next: what somebody waits for, and of the rest what came first, as long as its value need not be
    /// deflated before and `limit` bytes are not passed. At least one change is taken if any is ready. Of an entry a later change is not
    /// taken before an earlier one.
    ///
    /// Complexity: O(n).
    ///
    /// - Parameter evenUnready: whether what has to be deflated first is taken all the same.
    mutating func takeReady(
        limit: Int64,
        evenUnready: Bool = false,
        isAwaited: (borrowing Item) -> Bool
    ) -> Batch {
        var previous = [Int?](repeating: nil, count: items.count)
        var latest: [EntryAddress: Int] = [:]
        for (place, item) in items.enumerated() {
            if case .entry(let keyed) = item.change {
                previous[place] = latest.updateValue(place, forKey: keyed.address)
            }
        }
        var isTaken = [Bool](repeating: false, count: items.count)
        var taken: Int64 = 0
        func take(_ place: Int) -> Bool {
            if isTaken[place] { return true }
            if let earlier = previous[place], !take(earlier) { return false }
            let item = items[place]
            let isReady = evenUnready || item.isReady
            guard item.isControl || isReady && (taken == 0 || taken + item.bytes <= limit) else { return false }
            isTaken[place] = true
            taken += item.bytes
            return true
        }
        for onlyAwaited in [true, false] {
            for place in items.indices where isAwaited(items[place]) == onlyAwaited { _ = take(place) }
        }
        let all = items
        self = Batch(like: self)
        var batch = Batch(like: self)
        for (place, item) in all.enumerated() {
            if isTaken[place] { batch.add(item) { _ in true } } else { add(item) { _ in true } }
        }
        return batch
    }

    /// Whether everything can be committed together. Complexity: O(1) if no value is to be deflated, else O(n).
    func isReady(limit: Int64) -> Bool {
        (bytes <= limit || items.count == 1) && (deflating == 0 || items.allSatisfy { $0.isReady })
    }

    /// The latest change of an entry.
    func change(of address: EntryAddress) -> EntryChange? {
        guard let place = entries[address], case .entry(let keyed) = items[place].change else { return nil }
        return keyed.change
    }

    /// - Returns: the place that the earlier change of the same entry or control has, if there is one.
    private mutating func setPlace(of change: borrowing Change, _ place: Int) -> Int? {
        switch change {
        case .entry(let keyed): entries.updateValue(place, forKey: keyed.address)
        case .control(let control): control.name.flatMap { controls.updateValue(place, forKey: $0) }
        }
    }
}
