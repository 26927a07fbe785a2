import PantlerModel
import Testing

@testable import PantlerStore

/// Steps are values that turn what stands at an address into a change, without a store.
@Suite("Steps")
struct StepTests {
    private let moment = Moment(now: Timestamp(milliseconds: 1_000_000), access: 7, wallOffset: 500)
    private var entry: Entry {
        Entry(
            value: Array("41".utf8),
            kind: .json,
            version: 12,
            expiresAt: Timestamp(milliseconds: 2_000_000),
            staleTTL: 60_000,
            tags: []
        )
    }

    private func decide<Step: EntryStep>(
        _ step: Step,
        _ standing: Standing,
        _ policy: Policy = Policy()
    ) throws -> (change: EntryChange, answer: Step.Answer) {
        guard case .change(let change, let answer) = try step.decide(standing, policy, moment) else {
            throw Problem(.entryNotFound, "no change")
        }
        return (change, answer)
    }

    @Test("a put is made of what it was given and the policy, and asks for nothing to stand")
    func put() throws {
        var policy = Policy()
        policy.staleTTL = 5000
        let step = PutStep(Put(value: Array("1".utf8), kind: .json, lifetime: .milliseconds(9000)))
        let (change, answer) = try decide(step, .none(.absent), policy)
        guard case .put(let made, nil) = change.effect else { throw Problem(.entryNotFound, "no put") }
        #expect(change.kind == .put && change.base == .any)
        #expect(made.version == 0 && made.expiresAt == Timestamp(milliseconds: 1_009_000) && made.staleTTL == 5000)
        #expect(answer.isNew && answer.expiresAt == made.expiresAt.wallTime(aheadBy: 500))
        #expect(try !decide(step, .lower(entry)).answer.isNew)
    }

    @Test(
        "a negative entry's TTL is at most the policy's, by default just that, and it has no stale TTL",
        arguments: [
            (.byPolicy, nil, 60_000), (.never, nil, 60_000), (.milliseconds(9000), nil, 9000),
            (.milliseconds(60_001), nil, 60_000), (.byPolicy, 50_000, 50_000), (.never, 100_000, 60_000),
            (.milliseconds(9000), 8000, 8000),
            (.until(WallTime(milliseconds: 1_000_500 + 7000)), nil, 7000),
            (.until(WallTime(milliseconds: 1_000_500 + 90_000)), nil, 60_000),
        ] as [(Lifetime, Int64?, Int64)]
    )
    func negative(_ lifetime: Lifetime, _ maxTTL: Int64?, _ ttl: Int64) throws {
        var policy = Policy()
        (policy.staleTTL, policy.defaultTTL, policy.maxTTL) = (5000, 1000, maxTTL)
        let step = PutStep(Put(value: [], kind: .absent, lifetime: lifetime))
        let (change, answer) = try decide(step, .none(.absent), policy)
        guard case .put(let made, nil) = change.effect else { throw Problem(.entryNotFound, "no put") }
        #expect(made.isAbsent && made.staleTTL == 0 && answer.isNew)
        #expect(made.expiresAt.milliseconds(since: moment.now) == ttl)
    }

    @Test("a negative entry's expiry is brought forward at random like any other")
    func negativeJitter() throws {
        var policy = Policy()
        policy.ttlJitter = 0.5
        let ends = Set(
            (0..<100).map { _ in policy.negativeExpiry(.byPolicy, at: moment).milliseconds(since: moment.now) }
        )
        #expect(ends.count > 10 && ends.allSatisfy { (30_000...60_000).contains($0) })
    }

    @Test("a negative entry that stands is no entry to what asks for one, and can be replaced, removed and ended")
    func onNegative() throws {
        let negative = Entry(value: [], kind: .absent, version: 12, expiresAt: Timestamp(milliseconds: 2_000_000))
        for standing in [Standing.lower(negative), .head(EntryHead(negative))] {
            #expect(!standing.isPresent && standing.version == nil && standing.entry == nil)
            #expect(standing.reason == .absent && standing.head?.version == 12)
            #expect(try decide(PutStep(Put(value: [0x31], kind: .json)), standing).answer.isNew)
            let (deletion, deleted) = try decide(DeleteStep(condition: .none), standing)
            guard case .remove(.deleted) = deletion.effect else { throw Problem(.entryNotFound, "no removal") }
            #expect(deleted.wasThere)
            for mode in [InvalidationMode.gone, .stale] {
                let (change, ended) = try decide(InvalidateStep(mode: mode, before: 13), standing)
                guard case .remove(.invalidated) = change.effect else { throw Problem(.entryNotFound, "no removal") }
                #expect(ended.wasThere && change.base.holds(of: standing))
            }
            #expect(throws: Problem.notFound(.absent)) {
                try TouchStep(patch: Patch(lifetime: .never)).decide(standing, Policy(), moment)
            }
            #expect(throws: Problem.notFound(.absent)) {
                try CountStep(counter: CounterAdd(by: 1)).decide(standing, Policy(), moment)
            }
            let counted = try decide(CountStep(counter: CounterAdd(by: 1, initial: 4)), standing)
            #expect(counted.answer.isNew && counted.answer.value == 5)
        }
    }

    @Test("a conditional change is right only while that stands on which it was decided")
    func base() throws {
        let condition = Condition(ifMatch: EntityTags(versions: [12]))
        let put = PutStep(Put(value: [0x31], kind: .json, condition: condition))
        #expect(try decide(put, .lower(entry)).change.base == .version(12))
        let create = PutStep(Put(value: [0x31], kind: .json, condition: Condition(ifNoneMatch: EntityTags(any: true))))
        #expect(try decide(create, .none(.absent)).change.base == .nothing)
        #expect(try decide(DeleteStep(condition: condition), .lower(entry)).change.base == .version(12))
        #expect(try decide(DeleteStep(condition: .none), .lower(entry)).change.base == .any)
        #expect(EntryChange.Base.version(12).holds(of: .head(EntryHead(entry))))
        #expect(!EntryChange.Base.version(12).holds(of: .none(.expired)))
        #expect(!EntryChange.Base.nothing.holds(of: .lower(entry)))
        #expect(EntryChange.Base.any.holds(of: .none(.absent)) && EntryChange.Base.any.holds(of: .lower(entry)))
    }

    @Test("a put that a policy does not take decides on nothing")
    func tooLarge() {
        var policy = Policy()
        policy.maxValueSize = 1
        let step = PutStep(Put(value: [0x31, 0x31], kind: .json))
        #expect(throws: Problem.self) { try step.decide(.none(.absent), policy, moment) }
    }

    @Test("a counter keeps life and tags, and counts from what stands")
    func count() throws {
        let (change, answer) = try decide(CountStep(counter: CounterAdd(by: 2)), .lower(entry))
        guard case .put(let made, nil) = change.effect else { throw Problem(.entryNotFound, "no put") }
        #expect(made.value == Array("43".utf8) && made.expiresAt == entry.expiresAt && made.staleTTL == 60_000)
        #expect(change.kind == .counter && change.base == .version(12) && answer.value == 43 && !answer.isNew)
        let first = try decide(CountStep(counter: CounterAdd(by: 2, initial: 5)), .none(.expired))
        #expect(first.change.base == .nothing && first.answer.value == 7 && first.answer.isNew)
        #expect(throws: Problem.self) {
            try CountStep(counter: CounterAdd(by: 1)).decide(.none(.absent), Policy(), moment)
        }
    }

    @Test("a touch changes the head alone, and needs an entry")
    func touch() throws {
        let step = TouchStep(patch: Patch(lifetime: .milliseconds(100)))
        let (change, answer) = try decide(step, .head(EntryHead(entry)))
        guard case .touch(let head) = change.effect else { throw Problem(.entryNotFound, "no touch") }
        #expect(head.expiresAt == Timestamp(milliseconds: 1_000_100) && head.staleTTL == 60_000)
        #expect(change.base == .version(12) && !answer.isNew)
        #expect(throws: Problem.self) { try step.decide(.none(.absent), Policy(), moment) }
    }

    @Test(
        "an invalidation ends an entry, or makes stale what may be handed out when it is",
        arguments: [(InvalidationMode.gone, Int64(60_000), true), (.stale, 60_000, false), (.stale, 0, true)]
    )
    func invalidate(_ mode: InvalidationMode, _ staleTTL: Int64, _ isRemoved: Bool) throws {
        var entry = entry
        entry.staleTTL = staleTTL
        let (change, answer) = try decide(InvalidateStep(mode: mode, before: .max), .lower(entry))
        #expect(answer.wasThere && change.kind == .invalidation && change.base == .version(12))
        switch change.effect {
        case .remove(let reason): #expect(isRemoved && reason == .invalidated)
        case .touch(let head): #expect(!isRemoved && head.expiresAt == moment.now)
        case .put: Issue.record("an invalidation writes no value")
        }
    }

    @Test("an entry that is stale stays so since then, and a later one is of no concern")
    func invalidateAgain() throws {
        var entry = entry
        entry.expiresAt = Timestamp(milliseconds: 999_000)
        let (change, _) = try decide(InvalidateStep(mode: .stale, before: .max), .lower(entry))
        guard case .touch(let head) = change.effect else { throw Problem(.entryNotFound, "no touch") }
        #expect(head.expiresAt == Timestamp(milliseconds: 999_000))
        let later = InvalidateStep(mode: .gone, before: 12)
        guard case .nothing(let answer) = later.decide(.lower(entry), Policy(), moment)
        else { throw Problem(.entryNotFound, "a change") }
        #expect(!answer.wasThere)
    }

    @Test("where nothing is seen, what could come back is removed before that is said")
    func absent() throws {
        guard case .absent(.expired, .failure) = DeleteStep(condition: .none).decide(.none(.expired), Policy(), moment)
        else { throw Problem(.entryNotFound, "not absent") }
        let step = InvalidateStep(mode: .stale, before: .max)
        guard case .absent(.invalidated, .success(let answer)) = step.decide(.none(.invalidated), Policy(), moment)
        else { throw Problem(.entryNotFound, "not absent") }
        #expect(!answer.wasThere)
    }
}
