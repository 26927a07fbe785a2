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
    /// The latest change that was put before the job. It waits until all up to there are committed, and in their rows.
    var ticket: WriteTicket
    /// Whether it has begun before that to make room on a full disk. It then has to begin again from its first row.
    var isEarly = false
    /// Whether it ends only once what it did is synced.
    var isSynced = false
    /// How many entries it has ended; those that were dead already do not count.
    var removed = 0
    var completion: @Sendable (Result<Int, TierFault>) -> Void

    /// Whether it removes rows, and nothing else.
    var freesRoom: Bool {
        switch kind {
        case .removePrefix, .sweep: true
        case .merge, .tidy: false
        }
    }

    /// Sets it back to its first row.
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

    /// Takes the first job out of the queue.
    func next() -> Job? {
        state.withLock { $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }
    }

    /// Ends the queue, and returns the jobs that are left in it.
    func close() -> [Job] {
        state.withLock { state in
            state.isClosed = true
            defer { state.jobs = [] }
            return state.jobs
        }
    }
}
