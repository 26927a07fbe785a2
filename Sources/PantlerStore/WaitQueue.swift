import PantlerModel

/// Those who wait for one key, in the order in which they came.
struct WaitQueue {
    private struct Place {
        let number: UInt64
        let deadline: Timestamp
        /// `nil` for one who waits no more.
        var waiter: (any LeaseWaiter)?
    }

    /// Ascending by number. The first `head` places are empty.
    private var places: [Place] = []
    private var head = 0
    /// How many wait.
    private(set) var count = 0
    /// No wait ends before this; `never` where nobody waits.
    private(set) var nextDeadline = Timestamp.never

    var isEmpty: Bool { count == 0 }

    /// - Parameter number: greater than all before.
    mutating func append(_ number: UInt64, until deadline: Timestamp, _ waiter: any LeaseWaiter) {
        places.append(Place(number: number, deadline: deadline, waiter: waiter))
        nextDeadline = min(nextDeadline, deadline)
        count += 1
    }

    /// Takes out the one with a number, if that one waits. Complexity: O(log waiters), and now and then O(waiters).
    mutating func remove(_ number: UInt64) -> (any LeaseWaiter)? {
        var (low, high) = (head, places.count)
        while low < high {
            let middle = (low + high) / 2
            if places[middle].number < number { low = middle + 1 } else { high = middle }
        }
        guard low < places.count, places[low].number == number, let waiter = places[low].waiter.take() else {
            return nil
        }
        count -= 1
        compact()
        return waiter
    }

    /// Takes out the one who has waited longest.
    mutating func takeFirst() -> (any LeaseWaiter)? {
        while head < places.count {
            let taken = places[head].waiter.take()
            head += 1
            guard let taken else { continue }
            count -= 1
            compact()
            return taken
        }
        return nil
    }

    /// Takes out all whose time has come. Complexity: O(1) where none has, otherwise O(waiters).
    mutating func takeDue(_ now: Timestamp) -> [any LeaseWaiter] {
        if nextDeadline > now { return [] }
        var due: [any LeaseWaiter] = []
        nextDeadline = .never
        for index in head..<places.count where places[index].waiter != nil {
            if places[index].deadline > now {
                nextDeadline = min(nextDeadline, places[index].deadline)
            } else if let waiter = places[index].waiter.take() {
                count -= 1
                due.append(waiter)
            }
        }
        compact()
        return due
    }

    /// All who wait, in their order.
    var waiters: some Sequence<any LeaseWaiter> { places[head...].lazy.compactMap(\.waiter) }

    /// Gives up the places that are empty once they are more than half of all.
    private mutating func compact() {
        guard places.count > 16, count < places.count / 2 else { return }
        places.removeAll { $0.waiter == nil }
        head = 0
    }
}
