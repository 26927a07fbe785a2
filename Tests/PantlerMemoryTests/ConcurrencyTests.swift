import PantlerMemory
import PantlerModel
import Support
import Synchronization
import Testing

/// Many threads at once. What holds throughout: a value read is one that was written for that key, whole;
/// bounds hold once everyone has come back from `makeRoom`.
struct ConcurrencyTests {
    private static let threads = 4

    /// A thread's way to a tier.
    private struct Worker {
        let tier: LockedTier
        let slot: NamespaceSlot
        let clock: Shared<UInt64>
        let hasher = EntryHash(seed: 3)
        var generator: SeededGenerator
        var gets = 0
        var hits = 0

        func key(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }

        func tick() -> UInt64 {
            clock.update {
                $0 += 1
                return $0
            }
        }

        /// The first 8 bytes name the key; the rest repeats the last byte of the size.
        mutating func put(_ number: Int) {
            let size = [8, 100, 220, 5000, 20_000].randomElement(using: &generator) ?? 8
            var content = Content(value: Array(repeating: UInt8(truncatingIfNeeded: size), count: size))
            for byte in 0..<8 { content.value[byte] = UInt8(truncatingIfNeeded: number >> (8 * byte)) }
            let (key, now) = (key(number), tick())
            let hash = hasher.hash(namespace: 1, key: key)
            tier.withShard(hash) { shard in
                key.withUnsafeBytes { key in
                    content.withEntryContent { _ = shard.insert(hash, slot, key, $0, now: now) }
                }
            }
            tier.makeRoom(slot)
        }

        mutating func get(_ number: Int) {
            let (key, now) = (key(number), tick())
            let hash = hasher.hash(namespace: 1, key: key)
            var found: [UInt8]?
            tier.withShard(hash) { shard in
                if let ref = key.withUnsafeBytes({ shard.find(hash, slot, $0) }) {
                    found = Array(shard.view(ref).value)
                    shard.promote(ref, now: now)
                }
            }
            gets += 1
            guard let found else { return }
            hits += 1
            let isWhole =
                (0..<8).allSatisfy { found[$0] == UInt8(truncatingIfNeeded: number >> (8 * $0)) }
                && found.dropFirst(8).allSatisfy { $0 == UInt8(truncatingIfNeeded: found.count) }
            #expect(isWhole, "\(number) is torn, or another's")
        }

        func remove(_ number: Int) {
            let key = key(number)
            let hash = hasher.hash(namespace: 1, key: key)
            tier.withShard(hash) { shard in
                if let ref = key.withUnsafeBytes({ shard.find(hash, slot, $0) }) { shard.remove(ref) }
            }
        }

        /// Other threads have their turn between the steps.
        private func walk(_ number: Int) {
            var position = WalkPosition()
            var goesOn = true
            while goesOn {
                tier.withShard(number: number) { shard in
                    goesOn = shard.walk(slot, &position, limit: 100) { view in
                        view.key.count + view.value.count == 0 ? .remove : .keep
                    }
                }
            }
        }

        mutating func work(_ steps: Int) -> (gets: Int, hits: Int) {
            for _ in 0..<steps {
                let number = Int(Double(2000) * generator.fraction() * generator.fraction())
                switch Int.random(in: 0..<100, using: &generator) {
                case 0..<30: put(number)
                case 30..<90: get(number)
                case 90..<97: remove(number)
                case 97: _ = tier.sweepStep(limit: 50) { view, _ in view.hash % 97 == 0 }
                case 98: _ = tier.hotHashes(limit: 20)
                default:
                    for number in 0..<tier.shardCount { walk(number) }
                }
            }
            return (gets, hits)
        }
    }

    @Test(
        "what threads read is what was written, and bounds hold in the end",
        arguments: [(4 << 20, nil), (64 << 20, nil), (64 << 20, 150)] as [(Int, Int64?)]
    )
    func load(maxBytes: Int, maxEntries: Int64?) throws {
        let tier = LockedTier(maxBytes: maxBytes, shardCount: 4, maxNamespaces: 4)
        let slot = try #require(tier.attach(maxEntries: maxEntries))
        let clock = Shared<UInt64>(0)
        let start = SeededGenerator()
        let seen = try onThreads(Self.threads) { thread in
            var worker = Worker(
                tier: tier,
                slot: slot,
                clock: clock,
                generator: SeededGenerator(seed: start.seed &+ UInt64(thread))
            )
            return worker.work(4000)
        }
        tier.makeRoom(slot)
        #expect(tier.checkInvariants() == [], "\(start)")
        #expect(tier.bytes <= maxBytes)
        #expect(tier.usage(slot).entries <= maxEntries ?? .max)
        #expect(seen.contains { $0.hits > 0 && $0.hits < $0.gets })
    }

    @Test("namespaces come and go while others work")
    func attachAndDetach() throws {
        let tier = LockedTier(maxBytes: 8 << 20, shardCount: 4, maxNamespaces: 6)
        let slot = try #require(tier.attach())
        let clock = Shared<UInt64>(0)
        let start = SeededGenerator()
        _ = try onThreads(Self.threads) { thread in
            for round in 0..<20 {
                let generator = SeededGenerator(seed: start.seed &+ UInt64(thread * 100 + round))
                guard thread > 0 else {
                    var worker = Worker(tier: tier, slot: slot, clock: clock, generator: generator)
                    _ = worker.work(200)
                    continue
                }
                let own = try #require(tier.attach(maxEntries: 40))
                var worker = Worker(tier: tier, slot: own, clock: clock, generator: generator)
                for number in 0..<100 { worker.put(number) }
                for number in 0..<100 { worker.get(number) }
                #expect(worker.hits <= 40)
                tier.detach(own)
                #expect(tier.usage(own).entries == 0)
            }
        }
        #expect(tier.entries == Int(tier.usage(slot).entries))
        #expect(tier.checkInvariants() == [], "\(start)")
    }
}
