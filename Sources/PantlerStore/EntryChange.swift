import PantlerInsight
import PantlerMemory
import PantlerModel

/// One change of one entry, as a value: it is decided, and not made yet.
///
/// A change has no version. Whoever has the last word about the entry gives it one, judges its base, and makes the change or refuses it.
/// Over a node's own disk the store has the last word, in `EntryWrites.commit`; over a tier that several nodes share, that tier would have
/// it.
struct EntryChange: Sendable {
    /// The kind of call that asked for the change. The statistics count the change as that.
    enum Kind: Sendable {
        case put, delete, touch, counter, merge, invalidation
    }

    enum Effect: Sendable {
        /// The whole entry is written. A large value comes with a copy for memory.
        case put(Entry, LargeValue?)
        /// The entry gets another head, and keeps its value.
        case touch(EntryHead)
        /// The entry is removed, for this reason.
        case remove(MissReason)

        /// The tags that the entry has after the change.
        var tags: [EntryTag] {
            switch self {
            case .put(let entry, _): entry.tags
            case .touch(let head): head.tags
            case .remove: []
            }
        }
    }

    /// What stood there when the change was decided. The change is right only while that still stands there.
    enum Base: Hashable, Sendable {
        /// The change is right whatever stands there.
        case any
        case nothing
        case version(Version)

        init(_ standing: Standing) {
            self = standing.version.map { .version($0) } ?? .nothing
        }

        func holds(of standing: Standing) -> Bool { self == .any || self == Base(standing) }
    }

    var kind: Kind
    var effect: Effect
    var base: Base

    init(_ kind: Kind, _ effect: Effect, base: Base) {
        self.kind = kind
        self.effect = effect
        self.base = base
    }
}

extension NamespaceTally {
    mutating func count(_ kind: EntryChange.Kind) {
        switch kind {
        case .put, .merge: puts &+= 1
        case .delete: deletes &+= 1
        case .touch: touches &+= 1
        case .counter: counters &+= 1
        // An invalidation is counted once, however many entries it concerns.
        case .invalidation: break
        }
    }
}

/// What a step decides about an address, by what stands there.
enum Decision<Answer: ChangeAnswer>: Sendable {
    /// Nothing changes.
    case nothing(Answer)
    /// Nothing changes, because nothing is there. What the lower tier could bring back is removed all the same before the caller is told.
    case absent(MissReason, Result<Answer, Problem>)
    /// The change is made. The answer gets its version.
    case change(EntryChange, Answer)
}

/// What a caller is told of a change.
protocol ChangeAnswer: Sendable {
    /// The version of the entry after the change.
    var version: Version { get set }
}

/// A call that may change one entry, as a value. It turns what stands at the entry's address into a change.
///
/// A step touches no tier and waits for nothing, so that it can be run again whenever something else stands there.
protocol EntryStep: Sendable {
    associatedtype Answer: ChangeAnswer

    /// Whether the step makes stale what a walk has still to make stale.
    static var isInvalidation: Bool { get }
    /// Whether the step looks at the value that stands there, or only at its head.
    static var looksAtValue: Bool { get }
    /// The condition that is judged before the step runs.
    var condition: Condition { get }
    /// The lease that the step is the fill of. Without it, or where the lease is lost, the step does not run; `nil` = the step needs none.
    var lease: LeaseToken? { get }
    /// Whether the step has to know what stands there. Otherwise it runs on `.unknown` where memory does not have the entry.
    var needsStanding: Bool { get }
    /// Whether the step fails where the lower tier cannot tell what stands there. Otherwise a fault counts as nothing there.
    var failsUnseen: Bool { get }

    /// - Parameter policy: the namespace's policy at the moment at which the change is made.
    func decide(_ standing: Standing, _ policy: Policy, _ moment: Moment) throws(Problem) -> Decision<Answer>
}

extension EntryStep {
    static var isInvalidation: Bool { false }
    var condition: Condition { .none }
    var lease: LeaseToken? { nil }
    var needsStanding: Bool { true }
    var failsUnseen: Bool { true }
}
