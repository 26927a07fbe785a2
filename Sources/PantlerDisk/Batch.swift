import PantlerModel

/// Changes in the order in which they came, the latest of an entry in the place of the earlier ones.
///
/// Order between different entries does not matter: each is judged by its own version.
struct Batch: Sendable {
    struct Item: Sendable {
        var ticket: WriteTicket
        var change: Change
        var bytes: Int64

        var isPut: Bool {
            if case .entry(_, .put) = change { true } else { false }
        }

        var isControl: Bool {
            if case .control = change { true } else { false }
        }
    }

    private(set) var items: [Item] = []
    /// The sum over all items.
    private(set) var bytes: Int64 = 0
    private(set) var lastTicket: WriteTicket = 0
    private var entries: [EntryAddress: Int] = [:]
    private var controls: [Control.Name: Int] = [:]

    var isEmpty: Bool { items.isEmpty }
    var count: Int { items.count }

    /// - Parameter isAwaited: whether someone waits for the change of this ticket: it then keeps a place of its own, since
    ///   it has to succeed or fail by itself.
    mutating func add(_ item: Item, isAwaited: (WriteTicket) -> Bool) {
        lastTicket = max(lastTicket, item.ticket)
        bytes += item.bytes
        if let earlier = place(of: item.change), !isAwaited(items[earlier].ticket) {
            bytes -= items[earlier].bytes
            items[earlier] = item
            return
        }
        setPlace(of: item.change, items.count)
        items.append(item)
    }

    /// The latest change of an entry.
    func change(of address: EntryAddress) -> EntryChange? {
        guard let place = entries[address], case .entry(_, let change) = items[place].change else { return nil }
        return change
    }

    private func place(of change: Change) -> Int? {
        switch change {
        case .entry(let address, _): entries[address]
        case .control(let control): control.name.flatMap { controls[$0] }
        }
    }

    private mutating func setPlace(of change: Change, _ place: Int) {
        switch change {
        case .entry(let address, _): entries[address] = place
        case .control(let control):
            if let name = control.name { controls[name] = place }
        }
    }
}
