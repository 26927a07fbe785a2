import PantlerMemory
import PantlerModel
import Support
import Testing

/// What goes in comes out: every field, every size.
struct EntryTests {
    @Test(
        "an entry comes back with everything it was given",
        arguments: [0, 1, 3, 4, 200, 16 << 10, (16 << 10) + 1, 300_000]
    )
    func roundTrip(size: Int) throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        for (number, tags) in [[], ["a"], ["a", EntryTag(String(repeating: "b", count: 255)), "é"]].enumerated() {
            for mediaType in ["", "text/plain; charset=utf-8"] {
                for staleTTL in [0, 1, Int64.max] {
                    let key = Array("key \(number) \(mediaType) \(staleTTL)".utf8)
                    var content = Content(value: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) })
                    content.tags = tags
                    content.mediaType = Array(mediaType.utf8)
                    content.isJSON = mediaType.isEmpty
                    content.staleTTL = staleTTL
                    content.version = 1 << 53 - 1
                    content.expiresAt = Timestamp(milliseconds: 4_900_000_000_123)
                    #expect(driver.put(slot, key, content) == .stored)
                    #expect(driver.get(slot, key) == content)
                    #expect(driver.tier.checkInvariants() == [])
                }
            }
        }
    }

    @Test("a negative entry is what is neither JSON nor of a media type, with tags and without")
    func absent() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        for (key, isJSON, mediaType) in [("json", true, ""), ("bytes", false, "a/b"), ("absent", false, "")] {
            for tags in [[], ["t"]] as [[EntryTag]] {
                var content = Content(value: [])
                content.isJSON = isJSON
                content.mediaType = Array(mediaType.utf8)
                content.tags = tags
                #expect(driver.put(slot, Array(key.utf8), content) == .stored)
                driver.with(slot, Array(key.utf8)) { shard, ref in
                    #expect(shard.view(ref).isAbsent == (key == "absent"), "\(key) \(tags)")
                }
            }
        }
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("keys of every length are kept apart")
    func keyLengths() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        for length in 1...Limits.keyBytes {
            driver.put(slot, Array(repeating: 0x61, count: length), Content(value: Array("\(length)".utf8)))
        }
        for length in 1...Limits.keyBytes {
            #expect(driver.get(slot, Array(repeating: 0x61, count: length))?.value == Array("\(length)".utf8))
        }
        #expect(driver.tier.entries == Limits.keyBytes)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("equal hashes of different keys and namespaces do not mix")
    func collisions() throws {
        let tier = LockedTier(maxBytes: 8 << 20)
        let slots = try (1...3).map { _ in try #require(tier.attach()) }
        tier.withShard(42) { shard in
            for slot in slots {
                for key in ["one", "two", "six"] {
                    var (name, value) = (key, "\(slot) \(key)")
                    name.withUTF8 { name in
                        value.withUTF8 { value in
                            Content(value: Array(value)).withEntryContent {
                                _ = shard.insert(42, slot, UnsafeRawBufferPointer(name), $0, now: 1)
                            }
                        }
                    }
                }
            }
            for slot in slots {
                for key in ["one", "two", "six"] {
                    let ref = Array(key.utf8).withUnsafeBytes { shard.find(42, slot, $0) }
                    #expect(ref.map { String(decoding: shard.view($0).value, as: UTF8.self) } == "\(slot) \(key)")
                }
            }
        }
        #expect(tier.checkInvariants() == [])
    }

    @Test(
        "a key is plain when a JSON string can hold it as it is",
        arguments: [
            ("a/b:c é", true), ("quo\"te", false), ("back\\slash", false), ("line\nfeed", false), ("\u{1f}", false),
            ("\u{7f}", true), ("\"", false),
        ]
    )
    func plainKeys(key: String, isPlain: Bool) throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        driver.put(slot, key)
        var found: Bool?
        driver.with(slot, Array(key.utf8)) { shard, ref in found = shard.view(ref).keyIsPlain }
        #expect(found == isPlain)
    }

    @Test(
        "an expiry comes back to the millisecond, and never as never",
        arguments: [0, 1, 1_790_000_000_123, 1 << 43, Int64.max]
    )
    func expiry(milliseconds: Int64) throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        var content = Content(value: [1])
        content.expiresAt = Timestamp(milliseconds: milliseconds)
        driver.put(slot, [0x61], content)
        #expect(driver.get(slot, [0x61])?.expiresAt.milliseconds == milliseconds)
    }

    @Test("a touch changes the life and nothing else", arguments: [0, 20_000])
    func touch(size: Int) throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        var content = Content(value: Array(repeating: 9, count: size))
        driver.put(slot, [0x61], content)
        // Without a place for a stale TTL, with a new one, with one there, and back to none.
        for (version, staleTTL) in [(2, Int64(0)), (3, 500), (4, 900), (5, 0)] {
            content.version = Version(version)
            content.staleTTL = staleTTL
            content.expiresAt = Timestamp(milliseconds: 1000 + Int64(version))
            driver.with(slot, [0x61]) { shard, ref in
                shard.setLife(ref, version: content.version, expiresAt: content.expiresAt, staleTTL: staleTTL)
            }
            #expect(driver.get(slot, [0x61]) == content)
            #expect(driver.tier.checkInvariants() == [])
        }
    }

    @Test(
        "a value may come out of the entry that it replaces",
        arguments: [
            // Into another block; into the same one, where the key would be written over what is still to be read.
            (100, 9, 0), (100, 9, 5), (30_000, 9, 0), (30_000, 20_000, 0),
        ] as [(Int, Int, Int64)]
    )
    func aliasing(size: Int, skipped: Int, staleTTL: Int64) throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        let value = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
        driver.put(slot, [0x61], Content(value: value))
        driver.with(slot, [0x61]) { shard, ref in
            let view = shard.view(ref)
            let content = EntryContent(
                value: UnsafeRawBufferPointer(rebasing: view.value.dropFirst(skipped)),
                isJSON: true,
                mediaType: UnsafeRawBufferPointer(start: nil, count: 0),
                tags: [],
                version: 2,
                expiresAt: .never,
                staleTTL: staleTTL
            )
            #expect(shard.insert(view.hash, slot, view.key, content, now: 9) == .stored)
        }
        let found = driver.get(slot, [0x61])
        #expect(found?.value == Array(value.dropFirst(skipped)))
        #expect(found?.staleTTL == staleTTL)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("a large value outlives its entry for whoever holds it")
    func largeValue() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        let value = Array(repeating: UInt8(7), count: 1 << 20)
        let before = driver.tier.bytes
        driver.put(slot, [0x61], Content(value: value))
        #expect(driver.tier.bytes >= before + 1 << 20)
        var held: LargeValue?
        driver.with(slot, [0x61]) { shard, ref in
            held = shard.largeValue(ref)
            #expect(shard.view(ref).isLarge)
        }
        driver.remove(slot, [0x61])
        #expect(driver.tier.bytes < before + 1 << 20)
        #expect(held.map { Array($0.bytes) } == value)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("a large value that was copied beforehand is taken as it is")
    func preparedLargeValue() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        let value = Array(repeating: UInt8(7), count: 50_000)
        let prepared = value.withUnsafeBytes { LargeValue(copying: $0) }
        let hash = driver.hash(slot, [0x61])
        driver.tier.withShard(hash) { shard in
            let content = EntryContent(
                value: prepared?.bytes ?? UnsafeRawBufferPointer(start: nil, count: 0),
                isJSON: false,
                mediaType: UnsafeRawBufferPointer(start: nil, count: 0),
                tags: [],
                version: 1,
                expiresAt: .never,
                staleTTL: 0,
                largeValue: prepared
            )
            #expect([UInt8(0x61)].withUnsafeBytes { shard.insert(hash, slot, $0, content, now: 1) } == .stored)
        }
        driver.with(slot, [0x61]) { shard, ref in #expect(shard.largeValue(ref) === prepared) }
        #expect(driver.tier.checkInvariants() == [])
    }
}
