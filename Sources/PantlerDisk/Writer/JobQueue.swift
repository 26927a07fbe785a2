import PantlerModel
import Synchronization

/// Long work of the writer's, done in small steps between its commits.
struct Job: Sendable {
    enum Kind: Sendable {
        /// Removes a namespace's entries with this prefix and a version below `before`; goes on at `next`.
        case removePrefix(NamespaceID, prefix: [UInt8], before: Version, next: [UInt8])
        /// Removes what the delegate calls invalidated; goes on after the row `last`.
        case sweep(last: Int64)
        /// Waits until all changes are in their rows.
        case merge
        /// Does what house-keeping there is to do.
        case tidy
    }

    var kind: Kind
    /// The job sees what was put before it: it waits until these changes are committed, and in their rows.
    var ticket: WriteTicket
    /// Whether it has begun before that, to make room: what it has removed is gone, and all of it is still to be gone through.
    var isEarly = false
    /// Whether it is over only once all of it is synced.
    var isSynced = false
    /// Entries that it ended; those that were dead already do not count.
    var removed = 0
    var completion: @Sendable (Result<Int, TierFault>) -> Void

    /// Whether it removes rows, and nothing else.
    var freesRoom: Bool {
        switch kind {
        case .removePrefix, .sweep: true
        case .merge, .tidy: false
        }
    }

    /// From its first row on.
    mutating func beginAgain() {
        isEarly = false
        switch kind {
        case .removePrefix(let namespace, let prefix, let before, _):
            kind = .removePrefix(namespace, prefix: prefix, before: before, next: prefix)
        case .sweep: kind = .sweep(last: .min)
        case .merge, .tidy: break
        }
    }
}

/// The jobs that wait for their next step, taken in turns.
final class JobQueue: Sendable {
    private struct State {
        var jobs: [Job] = []
        var isClosed = false
    }

    private let state = Mutex(State())

    /// - Returns: `false` if no writer is left to do it.
    func add(_ job: Job) -> Bool {
        state.withLock {
            guard !$0.isClosed else { return false }
            $0.jobs.append(job)
            return true
        }
    }

    /// The first job, which is out of the queue then.
    func next() -> Job? {
        state.withLock { $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }
    }

    /// Ends the queue; what is left in it.
    func close() -> [Job] {
        state.withLock { state in
            state.isClosed = true
            defer { state.jobs = [] }
            return state.jobs
        }
    }
}
