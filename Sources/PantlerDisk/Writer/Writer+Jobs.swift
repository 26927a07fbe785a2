import PantlerModel

extension Writer {
    /// One step of the job whose turn it is.
    ///
    /// - Returns: whether there is more to do now.
    func stepJob() -> Bool {
        guard var job = jobs.next() else { return false }
        let ticket = job.ticket
        let (isPast, fault) = context.queue.read { ($0.isPast(ticket), $0.fault) }
        if fault?.cause == .full, job.freesRoom, !context.queue.isMerged(ticket) { return stepEarly(job, fault) }
        if job.isEarly { job.beginAgain() }
        guard isPast else {
            if let fault {
                job.completion(.failure(fault))
            } else if !jobs.add(job) {
                job.completion(.failure(PendingWrites.closedFault))
            }
            return false
        }
        guard context.queue.isMerged(ticket) else {
            if let fault = wantMerge() {
                job.completion(.failure(fault))
            } else if !jobs.add(job) {
                job.completion(.failure(PendingWrites.closedFault))
            }
            return true
        }
        do throws(SQLiteError) {
            if try advance(&job) {
                if job.isSynced { try syncAll() }
                job.completion(.success(job.removed))
            } else if !jobs.add(job) {
                job.completion(.failure(PendingWrites.closedFault))
            }
        } catch {
            job.completion(.failure(error.fault))
        }
        return true
    }

    /// A step of a job that removes rows, on a full disk, before all changes that came before the job are in their rows: these may wait for the
    /// very room that the job makes. Once they are in their rows the job begins again; if it ends before that, it ends with the fault.
    ///
    /// - Returns: whether there is more to do now.
    private func stepEarly(_ job: Job, _ fault: TierFault?) -> Bool {
        var job = job
        job.isEarly = true
        do throws(SQLiteError) {
            if try advance(&job) {
                job.completion(.failure(fault ?? PendingWrites.closedFault))
            } else if !jobs.add(job) {
                job.completion(.failure(PendingWrites.closedFault))
            }
        } catch {
            job.completion(.failure(error.fault))
        }
        return true
    }

    /// Syncs what was committed: whoever waits for a job in a `through` namespace is answered once that is on disk.
    private func syncAll() throws(SQLiteError) {
        lookAtLog(isThorough: false)
        try context.files.checkDamage()
        guard isUnsynced || !context.walTrust.isSound else { return }
        try transaction(sync: true) { () throws(SQLiteError) in try writeAnchor() }
    }

    /// - Returns: whether the job is done.
    private func advance(_ job: inout Job) throws(SQLiteError) -> Bool {
        switch job.kind {
        case .removePrefix(let namespace, let prefix, let before, let next):
            let rows = try entries.rows(of: namespace, from: next, limit: stepRows)
            let wanted = rows.prefix { $0.key.starts(with: prefix) }
            let gone = wanted.filter { $0.version < before }
            // Which of them could still be seen is judged before they are removed.
            let void = context.queue.voidThrough(namespace)
            let visible = gone.map { $0.version > void && isVisible($0) }
            let count = try gone.isEmpty ? 0 : step(gone) { (row) throws(SQLiteError) in try remove(row, .invalidated) }
            job.removed += visible.prefix(count).count { $0 }
            if count == gone.count, rows.count < stepRows || wanted.count < rows.count { return true }
            // The job goes on at the smallest key after the last one that was dealt with: `step` deals with one row at least.
            let last = count < gone.count ? gone[..<count].last : wanted.last
            let rest = last.map { $0.key + [0] } ?? next
            job.kind = .removePrefix(namespace, prefix: prefix, before: before, next: rest)
            return false
        case .sweep(let last):
            guard context.delegate != nil else { return true }
            let rows = try entries.oldest(of: nil, after: last, limit: stepRows * 4)
            guard let end = rows.last?.id else { return true }
            let ends = Dictionary(uniqueKeysWithValues: rows.compactMap { row in invalidAt(row).map { (row.id, $0) } })
            let ended = rows.filter { row in ends[row.id].map { $0 < row.dueAt ?? .max } ?? false }
            let now = nowMilliseconds
            let count =
                try ended.isEmpty
                ? 0
                : step(ended) { (row) throws(SQLiteError) in
                    // A row that was made stale ends later: it goes then, with those that have expired.
                    if let end = ends[row.id], end > now { return try entries.setDue(id: row.id, end) }
                    try remove(row, .invalidated)
                }
            job.removed += count
            job.kind = .sweep(last: count < ended.count ? ended[count].id - 1 : end)
            return false
        case .merge:
            // `stepJob` has waited until the journal is rid of all that came before the job.
            return true
        case .tidy:
            return try !stepHousekeeping(at: monotonicNanoseconds(), always: true)
        }
    }

    /// The moment, in milliseconds, at which a row ends by a flush or by a tag's invalidation; `nil` if it does not.
    func invalidAt(_ row: EntryTable.Row) -> Int64? {
        guard let delegate = context.delegate else { return nil }
        let tags = row.tags.withUnsafeBytes { TagList.decode($0) } ?? []
        return delegate.invalidAt(
            namespace: row.namespace,
            version: row.version,
            staleTTL: row.staleTTL,
            tags: tags
        )?.milliseconds
    }

    /// The present moment; before the tier is started nothing has expired.
    private var nowMilliseconds: Int64 { context.now?.milliseconds ?? .min }

    /// Whether a row that is removed could still be seen until now.
    private func isVisible(_ row: EntryTable.Row) -> Bool {
        let now = nowMilliseconds
        return row.deadAt ?? .max > now && invalidAt(row) ?? .max > now
    }
}
