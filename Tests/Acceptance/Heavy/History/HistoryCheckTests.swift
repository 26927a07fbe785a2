import Testing

/// The checker itself, by histories made by hand. None of them needs a service.
@Suite("The checker of histories")
struct HistoryCheckTests {
    private typealias Call = KeyOperation.Call
    private typealias Answer = KeyOperation.Answer

    /// What is asked and answered between two moments in milliseconds; without an answer, what is asked at the first.
    private func ask(
        _ client: Int,
        _ moments: ClosedRange<UInt64>,
        _ call: Call,
        _ answer: Answer?
    ) -> KeyOperation {
        let (invokedAt, answeredAt) = (moments.lowerBound * 1_000_000, moments.upperBound * 1_000_000)
        return KeyOperation(
            client: client,
            call: call,
            invokedAt: invokedAt,
            answeredAt: answer == nil ? .max : answeredAt,
            answer: answer
        )
    }

    private func put(
        _ value: Int,
        tags: TagSet = [],
        staysStale: Bool = false,
        _ condition: KeyOperation.Condition? = nil,
        lease: Int? = nil
    ) -> Call {
        .put(.init(value: value, tags: tags, staysStale: staysStale, condition: condition, lease: lease))
    }

    private func found(_ value: Int, _ version: Int, isStale: Bool? = false) -> Answer {
        .found(.init(value: value, version: version, isStale: isStale))
    }

    private func made(_ version: Int) -> Answer { .stored(version: version, replaced: false) }
    private func replaced(_ version: Int) -> Answer { .stored(version: version, replaced: true) }
    /// Lasts longer than any of these histories.
    private let lease = Call.lease(ttl: 300_000_000_000)
    private let red = TagSet(rawValue: 1)
    private let green = TagSet(rawValue: 2)

    /// Whether an order explains it; several parts have a kill after each but the last.
    private func isExplained(_ parts: [KeyOperation]..., isThrough: Bool = false) -> Bool {
        var check = HistoryCheck(isThrough: isThrough)
        do throws(HistoryCheck.Violation) {
            for (number, part) in parts.enumerated() { try check.take(part, isKilled: number < parts.count - 1) }
            return true
        } catch {
            return false
        }
    }

    // MARK: Reads and writes

    @Test("one thing after the other is explained")
    func sequence() {
        #expect(
            isExplained([
                ask(0, 0...1, .get, .missing),
                ask(0, 2...3, put(7), made(1)),
                ask(1, 4...5, .get, found(7, 1)),
                ask(1, 6...7, put(8, .version(1)), replaced(2)),
                ask(0, 8...9, put(9, .version(1)), .mismatch(2)),
                ask(0, 10...11, .delete(nil), .ended(wasThere: true)),
                ask(1, 12...13, .delete(nil), .ended(wasThere: false)),
                ask(1, 14...15, put(10, .absent), made(5)),
            ])
        )
    }

    @Test("a read while a write runs may see either")
    func concurrentRead() {
        let write = ask(0, 2...9, put(8), replaced(2))
        let before = ask(0, 0...1, put(7), made(1))
        #expect(isExplained([before, write, ask(1, 3...4, .get, found(7, 1)), ask(1, 5...6, .get, found(8, 2))]))
        #expect(!isExplained([before, write, ask(1, 3...4, .get, found(8, 2)), ask(1, 5...6, .get, found(7, 1))]))
    }

    @Test("the order of writes that run at once is found out by all that is read")
    func concurrentWrites() {
        let first = ask(0, 0...10, put(7), .stored(version: 1, replaced: nil))
        let writes = [first, ask(1, 0...10, put(8), replaced(2))]
        #expect(isExplained(writes + [ask(2, 11...12, .get, found(8, 2))]))
        #expect(!isExplained(writes + [ask(2, 11...12, .get, found(7, 1))]))
    }

    @Test("a read of what was replaced before is not explained")
    func staleRead() {
        #expect(
            !isExplained([
                ask(0, 0...1, put(7), made(1)),
                ask(0, 2...3, put(8), replaced(2)),
                ask(1, 4...5, .get, found(7, 1)),
            ])
        )
    }

    @Test("two conditional writes of which both find the same version are not explained")
    func lostUpdate() {
        #expect(
            !isExplained([
                ask(0, 0...1, put(7), made(1)),
                ask(0, 2...5, put(8, .version(1)), replaced(2)),
                ask(1, 2...5, put(9, .version(1)), replaced(3)),
            ])
        )
    }

    @Test("a condition that fails though it holds is not explained")
    func wrongMismatch() {
        let before = ask(0, 0...1, put(7), made(1))
        #expect(!isExplained([before, ask(0, 2...3, put(8, .version(1)), .mismatch(1))]))
        #expect(!isExplained([before, ask(0, 2...3, .delete(.version(2)), .mismatch(nil))]))
        #expect(isExplained([before, ask(0, 2...3, .delete(.version(2)), .mismatch(1))]))
    }

    @Test("a version that is not larger than the one before is not explained, not even after a delete")
    func versionGoesBack() {
        let before = [ask(0, 0...1, put(7), made(4)), ask(0, 2...3, .delete(nil), .ended(wasThere: true))]
        #expect(isExplained(before + [ask(0, 4...5, put(8), made(6))]))
        #expect(!isExplained(before + [ask(0, 4...5, put(8), made(4))]))
        #expect(!isExplained(before + [ask(0, 4...5, put(8), made(3))]))
    }

    @Test("what replaces nothing and what is told to do so are told apart")
    func wrongStatus() {
        #expect(!isExplained([ask(0, 0...1, put(7), replaced(1))]))
        #expect(!isExplained([ask(0, 0...1, .delete(nil), .ended(wasThere: true))]))
        #expect(isExplained([ask(0, 0...1, .delete(nil), .ended(wasThere: nil))]))
    }

    // MARK: Invalidations

    @Test("an invalidation ends the entries that it concerns, and no others")
    func invalidated() {
        let before = ask(0, 0...1, put(7, tags: red), made(1))
        func byTag(_ tags: TagSet) -> KeyOperation {
            ask(0, 2...3, .invalidate(.tags(tags), .gone), .ended(wasThere: nil))
        }
        #expect(isExplained([before, byTag([red, green]), ask(1, 4...5, .get, .missing)]))
        #expect(!isExplained([before, byTag(red), ask(1, 4...5, .get, found(7, 1))]))
        #expect(isExplained([before, byTag(green), ask(1, 4...5, .get, found(7, 1))]))
        #expect(!isExplained([before, byTag(green), ask(1, 4...5, .get, .missing)]))
    }

    @Test("a put replaces nothing that is invalidated before it")
    func replacedMeanwhile() {
        let before = ask(0, 0...1, put(7), made(1))
        let flush = ask(1, 2...6, .invalidate(.all, .gone), .ended(wasThere: nil))
        let seen = ask(1, 7...8, .get, found(8, 3))
        #expect(isExplained([before, flush, ask(0, 3...4, put(8), made(3)), seen]))
        #expect(!isExplained([before, flush, ask(0, 3...4, put(8), replaced(3)), seen]))
        #expect(isExplained([before, flush, ask(0, 3...4, put(8), replaced(3)), ask(1, 7...8, .get, .missing)]))
    }

    @Test("what is made stale stays with its stale TTL alone, and by key gets a new version")
    func madeStale() {
        let stays = ask(0, 0...1, put(7, staysStale: true), made(1))
        let all = ask(0, 2...3, .invalidate(.all, .stale), .ended(wasThere: nil))
        let byKey = ask(0, 2...3, .invalidate(.key, .stale), .ended(wasThere: true))
        #expect(isExplained([stays, all, ask(1, 4...5, .get, found(7, 1, isStale: true))]))
        #expect(!isExplained([stays, all, ask(1, 4...5, .get, found(7, 1))]))
        #expect(!isExplained([stays, all, ask(1, 4...5, .get, .missing)]))
        #expect(!isExplained([ask(0, 0...1, put(7), made(1)), all, ask(1, 4...5, .get, found(7, 1, isStale: true))]))
        #expect(isExplained([stays, byKey, ask(1, 4...5, .get, found(7, 3, isStale: true))]))
        #expect(!isExplained([stays, byKey, ask(1, 4...5, .get, found(7, 1, isStale: true))]))
        let twice = [ask(1, 4...5, .get, found(7, 3, isStale: nil)), ask(1, 6...7, .get, found(7, 4, isStale: nil))]
        #expect(!isExplained([stays, byKey] + twice))
    }

    // MARK: Kills

    @Test("a kill leaves what was answered, and of a write without an answer all or nothing")
    func kill() {
        let before = [ask(0, 0...1, put(7), made(1)), ask(0, 2...2, put(8), nil), ask(1, 3...4, .get, found(8, 2))]
        let after = [ask(1, 10...11, .get, found(8, 2)), ask(1, 12...13, .get, found(8, 2))]
        #expect(isExplained(before, after, isThrough: true))
        let lost = [ask(1, 10...11, .get, found(7, 1)), ask(1, 12...13, .get, found(7, 1))]
        #expect(isExplained(before, lost, isThrough: true))
        #expect(!isExplained(before, [after[0], lost[1]], isThrough: true))
        #expect(!isExplained(before, [ask(1, 10...11, .get, .missing)], isThrough: true))
        #expect(!isExplained([before[0]], [ask(1, 10...11, .get, .missing)], isThrough: true))
        let answered = [before[0], ask(0, 2...3, .delete(nil), .ended(wasThere: true))]
        #expect(!isExplained(answered, [ask(1, 10...11, .get, found(7, 1))], isThrough: true))
    }

    @Test("what a delete did not find may come back with a kill, if its removal was not answered")
    func killAfterNothing() {
        let put = ask(0, 0...1, put(7), made(1))
        let later = ask(1, 3...4, .delete(nil), .ended(wasThere: false))
        let back = ask(1, 10...11, .get, found(7, 1))
        #expect(isExplained([put, ask(0, 2...2, .delete(nil), nil), later], [back], isThrough: true))
        let answered = ask(0, 2...3, .delete(nil), .ended(wasThere: true))
        #expect(!isExplained([put, answered, later], [back], isThrough: true))
        let byTag = ask(1, 3...4, .invalidate(.all, .gone), .ended(wasThere: nil))
        #expect(!isExplained([put, ask(0, 2...2, .delete(nil), nil), byTag], [back], isThrough: true))
    }

    @Test("what was not answered has its moment before the kill or none")
    func killEnds() {
        let before = [ask(0, 0...1, put(7), made(1)), ask(0, 2...2, .delete(nil), nil)]
        #expect(isExplained(before, [ask(1, 10...11, .get, .missing)], isThrough: true))
        let late = [ask(1, 10...11, .get, found(7, 1)), ask(1, 12...13, .get, .missing)]
        #expect(!isExplained(before, late, isThrough: true))
    }

    @Test("a version that was only seen is not used again after a kill")
    func killAndVersions() {
        let before = [ask(0, 0...0, put(7), nil), ask(1, 1...2, .get, found(7, 5))]
        #expect(isExplained(before, [ask(1, 10...11, put(8), made(6))], isThrough: true))
        #expect(!isExplained(before, [ask(1, 10...11, put(8), made(5))], isThrough: true))
    }

    // MARK: Leases

    @Test("a lease is filled once, by its token")
    func fill() {
        let given = ask(0, 0...1, lease, .granted(1, stale: nil))
        let filled = ask(0, 2...3, put(7, lease: 1), made(1))
        #expect(isExplained([given, filled, ask(1, 4...5, lease, found(7, 1))]))
        #expect(!isExplained([given, ask(0, 2...3, put(7, lease: 2), made(1))]))
        #expect(!isExplained([given, ask(0, 2...3, put(7, lease: 1), .lost)]))
        #expect(isExplained([given, filled, ask(0, 4...5, put(8, lease: 1), .lost)]))
        #expect(!isExplained([given, filled, ask(0, 4...5, put(8, lease: 1), replaced(2))]))
    }

    @Test("two leases at once for one key are not explained")
    func twoLeases() {
        let given = ask(0, 0...3, lease, .granted(1, stale: nil))
        #expect(!isExplained([given, ask(1, 2...5, lease, .granted(2, stale: nil))]))
        #expect(isExplained([given, ask(1, 2...5, lease, .filling)]))
        #expect(!isExplained([ask(1, 2...5, lease, .filling)]))
        let released = ask(0, 4...5, .release(1, retryAfter: nil), .done)
        #expect(isExplained([given, released, ask(1, 4...9, lease, .granted(2, stale: nil))]))
        #expect(!isExplained([given, released, ask(1, 6...9, lease, .filling)]))
    }

    @Test(
        "a fill that is late, after a change of the key, is not explained",
        arguments: [
            (Call.delete(nil), Answer.ended(wasThere: false)),
            (Call.put(.init(value: 6)), Answer.stored(version: 1, replaced: false)),
            (Call.invalidate(.key, .gone), Answer.ended(wasThere: false)),
            (Call.invalidate(.key, .stale), Answer.ended(wasThere: false)),
            (Call.invalidate(.prefix, .gone), Answer.ended(wasThere: nil)),
            (Call.invalidate(.prefix, .stale), Answer.ended(wasThere: nil)),
            (Call.invalidate(.all, .gone), Answer.ended(wasThere: nil)),
            (Call.invalidate(.all, .stale), Answer.ended(wasThere: nil)),
            (Call.invalidate(.tags([.init(rawValue: 4)]), .gone), Answer.ended(wasThere: nil)),
        ]
    )
    func lateFill(_ change: KeyOperation.Call, _ answer: KeyOperation.Answer) {
        let given = ask(0, 0...1, lease, .granted(1, stale: nil))
        let fill = put(7, tags: [.init(rawValue: 4)], lease: 1)
        let filled = Answer.stored(version: 2, replaced: nil)
        #expect(!isExplained([given, ask(1, 2...3, change, answer), ask(0, 4...5, fill, filled)]))
        #expect(isExplained([given, ask(1, 2...3, change, answer), ask(0, 4...5, fill, .lost)]))
        #expect(isExplained([given, ask(1, 2...5, change, answer), ask(0, 4...6, fill, .lost)]))
    }

    @Test("a fill is lost by the invalidation of one of its own tags, and no other")
    func tagsOfFill() {
        let given = ask(0, 0...1, lease, .granted(1, stale: nil))
        for mode in [KeyOperation.Mode.gone, .stale] {
            let change = ask(1, 2...3, .invalidate(.tags(red), mode), .ended(wasThere: nil))
            #expect(!isExplained([given, change, ask(0, 4...5, put(7, tags: red, lease: 1), made(1))]))
            #expect(isExplained([given, change, ask(0, 4...5, put(7, tags: red, lease: 1), .lost)]))
            #expect(isExplained([given, change, ask(0, 4...5, put(7, tags: green, lease: 1), made(1))]))
            #expect(!isExplained([given, change, ask(0, 4...5, put(7, tags: green, lease: 1), .lost)]))
        }
        let before = ask(1, 0...1, .invalidate(.tags(red), .gone), .ended(wasThere: nil))
        let later = ask(0, 2...3, lease, .granted(2, stale: nil))
        #expect(isExplained([before, later, ask(0, 4...5, put(7, tags: red, lease: 2), made(1))]))
    }

    @Test(
        "a lease that a flush has ended may keep others away for a moment, and one that anything else has ended may not"
    )
    func lingering() {
        let given = ask(0, 0...1, lease, .granted(1, stale: nil))
        let flush = ask(1, 2...3, .invalidate(.all, .gone), .ended(wasThere: nil))
        let delete = ask(1, 2...3, .delete(nil), .ended(wasThere: false))
        #expect(isExplained([given, flush, ask(1, 4...5, lease, .filling)]))
        #expect(isExplained([given, flush, ask(1, 4...5, lease, .granted(2, stale: nil))]))
        #expect(!isExplained([given, flush, ask(1, 5000...5001, lease, .filling)]))
        #expect(!isExplained([given, delete, ask(1, 4...5, lease, .filling)]))
    }

    @Test("while a prefix is invalidated, leases may be lost before their entries, and those that are given stay")
    func fence() {
        let before = [
            ask(0, 0...1, put(7, staysStale: true), made(1)),
            ask(0, 2...3, .invalidate(.all, .stale), .ended(wasThere: nil)),
        ]
        let stale = KeyOperation.Sighting(value: 7, version: 1, isStale: true)
        let given = ask(0, 4...5, lease, .granted(1, stale: stale))
        let refused = ask(0, 8...9, put(8, lease: 1), .lost)
        let seen = ask(0, 10...11, .get, found(7, 1, isStale: true))
        func byPrefix(_ moments: ClosedRange<UInt64>) -> KeyOperation {
            ask(1, moments, .invalidate(.prefix, .gone), .ended(wasThere: nil))
        }
        #expect(isExplained(before + [given, byPrefix(6...12), refused, seen]))
        #expect(!isExplained(before + [given, byPrefix(6...9), refused, seen]))
        #expect(!isExplained(before + [given, byPrefix(10...12), refused, seen]))
        let filled = ask(0, 13...14, put(8, lease: 1), made(2))
        #expect(isExplained(before + [given, byPrefix(4...12), filled]))
        #expect(!isExplained(before + [given, byPrefix(6...12), filled]))
        let again = ask(2, 8...9, lease, .granted(2, stale: stale))
        #expect(isExplained(before + [given, byPrefix(6...12), again]))
        #expect(!isExplained(before + [given, byPrefix(10...12), again]))
    }

    @Test("a condition that fails leaves the lease")
    func leaseStays() {
        let given = ask(0, 0...1, lease, .granted(1, stale: nil))
        let refused = ask(1, 2...3, put(6, .version(5)), .mismatch(nil))
        #expect(isExplained([given, refused, ask(0, 4...5, put(7, lease: 1), made(1))]))
        #expect(!isExplained([given, refused, ask(0, 4...5, put(7, lease: 1), .lost)]))
    }

    @Test("a lease that has run out fills nothing, and one that has not is not lost")
    func runOut() {
        let given = ask(0, 0...10, .lease(ttl: 100_000_000), .granted(1, stale: nil))
        #expect(isExplained([given, ask(0, 50...60, put(7, lease: 1), made(1))]))
        #expect(!isExplained([given, ask(0, 50...60, put(7, lease: 1), .lost)]))
        #expect(isExplained([given, ask(0, 105...106, put(7, lease: 1), made(1))]))
        #expect(isExplained([given, ask(0, 105...106, put(7, lease: 1), .lost)]))
        #expect(!isExplained([given, ask(0, 200...210, put(7, lease: 1), made(1))]))
        #expect(isExplained([given, ask(1, 200...210, lease, .granted(2, stale: nil))]))
        #expect(!isExplained([given, ask(1, 50...60, lease, .granted(2, stale: nil))]))
        #expect(!isExplained([given, ask(1, 200...210, lease, .filling)]))
        let prolonged = ask(0, 50...60, .prolong(1, ttl: 500_000_000), .done)
        #expect(isExplained([given, prolonged, ask(0, 200...210, put(7, lease: 1), made(1))]))
        #expect(!isExplained([given, prolonged, ask(0, 200...210, put(7, lease: 1), .lost)]))
    }

    @Test("a stale entry is handed out beside the lease, and to those who do not get it")
    func staleBesideLease() {
        let before = [
            ask(0, 0...1, put(7, staysStale: true), made(1)),
            ask(0, 2...3, .invalidate(.all, .stale), .ended(wasThere: nil)),
        ]
        let stale = KeyOperation.Sighting(value: 7, version: 1, isStale: true)
        let given = ask(0, 4...5, lease, .granted(1, stale: stale))
        #expect(isExplained(before + [given, ask(1, 6...7, lease, .found(stale))]))
        #expect(!isExplained(before + [ask(1, 6...7, lease, .found(stale))]))
        #expect(!isExplained(before + [ask(0, 4...5, lease, .granted(1, stale: nil))]))
        #expect(!isExplained(before + [given, ask(1, 6...7, lease, .filling)]))
        #expect(!isExplained([before[0], ask(0, 4...5, lease, .granted(1, stale: stale))]))
        #expect(isExplained(before + [given, ask(0, 6...7, put(8, lease: 1), replaced(2))]))
    }

    @Test("after a failure nobody gets a lease for so long, and the stale entry stays")
    func failure() {
        let given = ask(0, 0...1, lease, .granted(1, stale: nil))
        let failed = ask(0, 2...3, .release(1, retryAfter: 1_000_000_000), .done)
        #expect(isExplained([given, failed, ask(1, 4...5, lease, .failed)]))
        #expect(!isExplained([given, failed, ask(1, 4...5, lease, .granted(2, stale: nil))]))
        #expect(!isExplained([given, failed, ask(1, 4...5, lease, .filling)]))
        #expect(isExplained([given, failed, ask(1, 2000...2001, lease, .granted(2, stale: nil))]))
        let released = ask(0, 2...3, .release(1, retryAfter: nil), .done)
        #expect(!isExplained([given, released, ask(1, 4...5, lease, .failed)]))
        let again = [
            given, failed, ask(1, 2000...2001, lease, .granted(2, stale: nil)),
            ask(1, 2002...2003, .release(2, retryAfter: 1_000_000_000), .done),
        ]
        #expect(isExplained(again + [ask(1, 3800...3801, lease, .failed)]))
        #expect(!isExplained(again + [ask(1, 4100...4101, lease, .failed)]))
        let filled = [
            given, failed, ask(1, 4...5, put(7), made(1)), ask(1, 6...7, .delete(nil), .ended(wasThere: true)),
        ]
        #expect(!isExplained(filled + [ask(1, 8...9, lease, .failed)]))
        #expect(isExplained(filled + [ask(1, 8...9, lease, .granted(2, stale: nil))]))
    }

    @Test("a kill leaves nothing of a lease")
    func leaseAndKill() {
        let given = [ask(0, 0...1, lease, .granted(1, stale: nil)), ask(1, 2...2, lease, nil)]
        #expect(isExplained(given, [ask(0, 10...11, put(7, lease: 1), .lost)], isThrough: true))
        #expect(!isExplained(given, [ask(0, 10...11, put(7, lease: 1), made(1))], isThrough: true))
        #expect(isExplained(given, [ask(2, 10...11, lease, .granted(3, stale: nil))], isThrough: true))
        #expect(!isExplained(given, [ask(2, 10...11, lease, .filling)], isThrough: true))
    }

    @Test("a lease whose request was not answered may keep others waiting")
    func leaseWithoutAnswer() {
        let asked = ask(0, 0...0, lease, nil)
        #expect(isExplained([asked, ask(1, 1...2, lease, .filling)], [], isThrough: true))
        #expect(!isExplained([ask(1, 1...2, lease, .filling)], [], isThrough: true))
    }

    // MARK: All keys

    @Test("versions of all keys grow, and none is used twice")
    func versions() {
        let first = ("a", [ask(0, 0...1, put(7), made(5))])
        func complaints(_ second: KeyOperation) -> [String] {
            var check = VersionCheck()
            return check.take([first, ("b", [second])].map { (key: $0.0, operations: $0.1) })
        }
        #expect(complaints(ask(1, 2...3, put(8), made(6))).isEmpty)
        #expect(complaints(ask(1, 1...3, put(8), made(4))).isEmpty)
        #expect(complaints(ask(1, 2...3, put(8), made(4))).count == 1)
        #expect(complaints(ask(1, 0...3, put(8), made(5))).count == 1)
        #expect(complaints(ask(1, 2...3, .get, found(8, 5))).count == 1)
        var check = VersionCheck()
        _ = check.take([(key: "a", operations: first.1)])
        #expect(check.take([(key: "b", operations: [ask(1, 2...3, put(8), made(3))])]).count == 1)
    }

    @Test("a violation shows the operation, what the key may have been, and what was asked meanwhile")
    func report() throws {
        var check = HistoryCheck(isThrough: false)
        let violation = #expect(throws: HistoryCheck.Violation.self) {
            try check.take([
                ask(0, 0...1, put(7, tags: red), made(1)), ask(1, 2...5, put(8), replaced(2)),
                ask(0, 6...7, .get, found(7, 1)),
            ])
        }
        let text = try #require(violation).description
        #expect(text.contains("no order explains: 6.000 to 7.000  client 0: get -> 7 of version 1"))
        #expect(text.contains("\n  8 of version 2; versions up to 2\n"))
        #expect(text.contains("\n  2.000 to 5.000  client 1: put 8 -> version 2, replaced"))
        #expect(text.hasSuffix("\n> 6.000 to 7.000  client 0: get -> 7 of version 1"))
    }
}
