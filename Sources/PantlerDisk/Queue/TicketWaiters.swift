import PantlerModel

/// Callers who wait for changes in the queue, in the order of their tickets, and those of one ticket in the order in which they came.
///
/// An array: tickets are given in order and waited for at once, so that a new one nearly always belongs at the end; and a commit takes
/// them from the front.
struct TicketWaiters {
    typealias Completion = PendingWrites.Completion

    private var waiters: [(ticket: WriteTicket, completion: Completion)] = []

    var isEmpty: Bool { waiters.isEmpty }

    /// Complexity: O(1) for the largest ticket so far, else O(n).
    mutating func add(_ ticket: WriteTicket, _ completion: @escaping Completion) {
        waiters.insert((ticket, completion), at: place(after: ticket))
    }

    /// Whether someone waits for a ticket. Complexity: O(log n).
    func contains(_ ticket: WriteTicket) -> Bool {
        let place = place(after: ticket)
        return place > 0 && waiters[place - 1].ticket == ticket
    }

    /// Whether a change has to succeed or fail by itself, because someone is to be told of it.
    func areWaiting(for item: borrowing Batch.Item) -> Bool { item.isAwaited || contains(item.ticket) }

    /// Takes out all who wait for a ticket. Complexity: O(n).
    mutating func take(_ ticket: WriteTicket) -> [Completion] {
        let range = place(after: ticket - 1)..<place(after: ticket)
        defer { waiters.removeSubrange(range) }
        return waiters[range].map(\.completion)
    }

    /// Takes out all who wait for tickets up to this one. Complexity: O(n).
    mutating func take(upTo ticket: WriteTicket) -> [(ticket: WriteTicket, completion: Completion)] {
        let end = place(after: ticket)
        if end == waiters.count {
            defer { waiters = [] }
            return waiters
        }
        defer { waiters.removeFirst(end) }
        return Array(waiters[..<end])
    }

    /// The same but for those who wait for the `kept` tickets.
    mutating func take(
        upTo ticket: WriteTicket,
        except kept: Set<WriteTicket>
    ) -> [(ticket: WriteTicket, completion: Completion)] {
        if kept.isEmpty { return take(upTo: ticket) }
        let end = place(after: ticket)
        let taken = waiters[..<end].filter { !kept.contains($0.ticket) }
        waiters.replaceSubrange(..<end, with: waiters[..<end].filter { kept.contains($0.ticket) })
        return taken
    }

    /// Whether somebody waits for a ticket of which this holds. Complexity: O(n).
    func contains(where isWanted: (WriteTicket) -> Bool) -> Bool { waiters.contains { isWanted($0.ticket) } }

    /// The place of the first that waits for a later one.
    private func place(after ticket: WriteTicket) -> Int {
        guard let last = waiters.last, last.ticket > ticket else { return waiters.count }
        var (low, high) = (0, waiters.count)
        while low < high {
            let middle = (low + high) / 2
            if waiters[middle].ticket > ticket { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
