import PantlerInsight
import PantlerMemory
import PantlerModel

/// One change of one entry, decided and not made yet: a value.
///
/// It has no version. Whoever has the last word about the entry gives it one, judges the base, and makes the change or does not. Over a disk
/// of its own that is the store, in `EntryWrites.commit`; over a tier that several nodes share it would be that tier.
struct EntryChange: Sendable {
    /// What asked for it, which is what it is counted as.
    enum Kind: Sendable {
        case put, delete, touch, counter, merge, invalidation
    }

    enum Effect: Sendable {
        /// The whole entry, and a copy of its value for memory where that is large.
        case put(Entry, LargeValue?)
        /// Another head; the value stays as it is.
        case touch(EntryHead)
        /// Nothing is there any more, for this reason.
        case remove(MissReason)
    }

    /// What the change was decided on: it is right only while that still stands.
    enum Base: Hashable, Sendable {
        /// Whatever stands there.
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

/// What a step makes of what stands at an address.
enum Decision<Answer: ChangeAnswer>: Sendable {
    /// Nothing changes.
    case nothing(Answer)
    /// Nothing changes, because nothing is there. What could come back is removed all the same before that is said.
    case absent(MissReason, Result<Answer, Problem>)
    /// The answer gets the version once the change has one.
    case change(EntryChange, Answer)
}

/// What a caller is told of a change.
protocol ChangeAnswer: Sendable {
    /// The entry's after the change.
    var version: Version { get set }
}

/// A call that may change one entry, as a value: it turns what stands there into a change.
///
/// It touches no tier and waits for nothing, so that it can be run again whenever something else stands there.
protocol EntryStep: Sendable {
    associatedtype Answer: ChangeAnswer

    /// Whether it looks at the value that stands there, or at its head alone.
    static var looksAtValue: Bool { get }
    /// Judged before the step runs.
    var condition: Condition { get }
    /// `false` lets it run on `.unknown` where memory does not have the entry.
    var needsStanding: Bool { get }
    /// Whether it fails where the lower tier cannot tell what stands there. Otherwise a fault counts as nothing there.
    var failsUnseen: Bool { get }

    /// - Parameter policy: that of the namespace at the moment at which the change is made.
    func decide(_ standing: Standing, _ policy: Policy, _ moment: Moment) throws(Problem) -> Decision<Answer>
}

extension EntryStep {
    var condition: Condition { .none }
    var needsStanding: Bool { true }
    var failsUnseen: Bool { true }
}
