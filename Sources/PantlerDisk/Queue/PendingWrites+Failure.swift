import PantlerModel

// What becomes of changes that could not be committed. They are pending again, in front of what came meanwhile, unless a `through` writer
// waited for one: that writer is told, and the change is taken back.
//
// A change of an entry that nobody waits for was answered long ago. When it has to be given up, its place on disk must not be taken by
// what was there before: its value alone is given up first, and a delete of the key remains. When that goes too, all that the file has
// of the namespace up to the change's version is *void*: `voidThrough` says so from this moment on, and a control change makes it last
// until the writer has removed those rows.
extension PendingWrites {
    /// The batch could not be committed, but for the changes that are `done`, which are synced too.
    ///
    /// Whoever waited for a change in it is told, and the change is taken back. The others are pending again, as far as the bounds allow
    /// (see `QueueOverflow`). While the tier closes there are two more attempts, each with less to write: without values, and then
    /// with nothing of entries but what is void.
    ///
    /// - Parameter isUndone: whether nothing of the batch is left in the log.
    mutating func fail(
        _ fault: TierFault,
        done: Set<WriteTicket> = [],
        isUndone: Bool = true,
        at now: UInt64
    ) -> (answers: [Answer], lost: Int) {
        pause(because: fault, at: now)
        let faults = Faults(fault, isUndone: isUndone, isClosing: isClosing)
        let failed = inCommit ?? Batch()
        inCommit = nil
        // Some callers wait for changes that were committed, without a sync, before they asked for one: these changes stay.
        let last = isClosing ? WriteTicket.max : max(inCommitThrough, committed)
        let waiting = waiters.take(upTo: last, except: isClosing ? [] : held)
        let awaited = Set(waiting.map(\.ticket))
        var told: [WriteTicket: TierFault] = [:]
        var lost = 0
        var left: [Batch.Item] = []
        for var item in failed.items + (isClosing ? pending.items : []) where !done.contains(item.ticket) {
            let isAwaited = item.isAwaited || awaited.contains(item.ticket)
            if isAwaited {
                told[item.ticket] = faults.of(item)
                if !awaited.contains(item.ticket) { untold[item.ticket] = faults.of(item) }
            }
            item.isAwaited = false
            // Controls are tried again, even those whose writer was told of the failure.
            if item.isControl || !isAwaited {
                left.append(item)
            } else {
                left += takeBack(item, &lost)
            }
        }
        var answers: [Answer] = waiting.map { ticket, completion in
            (completion, done.contains(ticket) ? nil : told[ticket] ?? faults.ofCommitted)
        }
        answers += takeFlushWaiters(upTo: last, fault)
        if isClosing {
            pending = Batch()
            lost += giveUpWhileClosing(left, fault)
        } else {
            lost += keep(left, fault)
            if !failed.isEmpty { pendingSince = inCommitSince }
        }
        if pending.isEmpty { committed = latestTicket }
        // Where a caller waits for a sync the next attempt comes after the shortest pause, and else after one that grows.
        retryAt = now + (isSyncAwaited ? limits.firstRetryMicroseconds : retryDelay)
        return (answers + takeRoomWaiters(), lost)
    }

    /// What those are told who wait for changes of a batch that failed.
    private struct Faults {
        let ofEntries: TierFault
        let ofControls: TierFault
        let ofCommitted: TierFault

        init(_ fault: TierFault, isUndone: Bool, isClosing: Bool) {
            ofEntries = fault.with(isUndone ? .takenBack : .uncertain)
            // A control that is not written when the tier has closed is in no memory either.
            ofControls = fault.with(isClosing ? .uncertain : .kept)
            ofCommitted = fault.with(.kept)
        }

        func of(_ item: Batch.Item) -> TierFault { item.isControl ? ofControls : ofEntries }
    }

    /// Notes that writing goes well again, which a commit of nothing has shown.
    mutating func noteRecovered() {
        fault = nil
        retryDelay = 0
    }

    // MARK: Inside

    /// Puts items back in front of the pending ones, as far as there is room; returns how many changes are lost.
    mutating func keep(_ items: [Batch.Item], _ fault: TierFault) -> Int {
        let all = items + pending.items
        let overflow = QueueOverflow(all, limits: limits) { waiters.areWaiting(for: $0) }
        var lost = 0
        var kept = Batch()
        for (place, var item) in all.enumerated() {
            if overflow.dropped.contains(place) {
                lost += giveUp(item, fault)
                voids.note(item.change)
                continue
            }
            if overflow.shrunk.contains(place) {
                lost += giveUp(item, fault)
                item.giveUpValue()
            }
            kept.add(item) { waiters.areWaiting(for: $0) }
        }
        pending = kept
        addVoids()
        return lost
    }

    /// Keeps what is to be tried again while the tier closes, as `fail` describes; after the third failure nothing. Returns how many changes
    /// are lost.
    mutating func giveUpWhileClosing(_ items: [Batch.Item], _ fault: TierFault) -> Int {
        closingFailures += 1
        var lost = 0
        for var item in items {
            switch closingFailures {
            case 1:
                if item.isPut {
                    lost += giveUp(item, fault)
                    item.giveUpValue()
                }
            case 2 where item.isControl: break
            default:
                lost += giveUp(item, fault)
                voids.note(item.change)
                continue
            }
            pending.add(item) { _ in false }
        }
        if closingFailures < 3 { addVoids() }
        return lost
    }

    /// What is left to do for a change whose writer was told that it failed.
    func takeBack(_ item: Batch.Item, _ lost: inout Int) -> [Batch.Item] {
        guard let remainder = item.remainder else { return [] }
        lost += 1
        return [remainder]
    }

    /// What is left to do for a change that cannot be made and that nobody waits for.
    mutating func reject(_ item: Batch.Item, _ fault: TierFault, _ lost: inout Int) -> [Batch.Item] {
        lost += giveUp(item, fault)
        guard item.isPut else {
            voids.note(item.change)
            return []
        }
        var item = item
        item.giveUpValue()
        return [item]
    }

    private mutating func addVoids() {
        for control in voids.takeGrown() {
            pending.add(Batch.Item(ticket: takeTicket(), change: .control(control))) { waiters.areWaiting(for: $0) }
        }
    }

    /// Notes that a change is given up, for whoever asks for it; returns how many more are lost by that.
    private mutating func giveUp(_ item: Batch.Item, _ fault: TierFault) -> Int {
        guard !item.isGivenUp else { return 0 }
        giveUp(item.ticket, fault)
        return 1
    }

    mutating func giveUp(_ ticket: WriteTicket, _ fault: TierFault) {
        // Whoever asks for a change does so within microseconds of it. So all can be forgotten when there are as many as this.
        if givenUp.count >= 65_536 { givenUp = [:] }
        givenUp[ticket] = fault
    }
}
