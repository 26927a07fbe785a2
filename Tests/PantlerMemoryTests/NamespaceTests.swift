import PantlerMemory
import PantlerModel
import Support
import Testing

/// Namespaces come and go.
struct NamespaceTests {
    @Test("there are as many slots as asked for, each its own, and one that was given back is given again")
    func slots() throws {
        let driver = TierDriver(maxNamespaces: 3)
        let slots = try (1...3).map { _ in try #require(driver.tier.attach()) }
        #expect(Set(slots).count == 3)
        #expect(driver.tier.attach() == nil)
        driver.tier.detach(slots[1])
        #expect(driver.tier.attach() == slots[1])
        #expect(driver.tier.attach() == nil)
    }

    @Test("a detached namespace leaves nothing to its successor: no entry, no figure, no quota")
    func successor() throws {
        let driver = TierDriver(maxNamespaces: 2)
        let other = try #require(driver.tier.attach())
        let slot = try #require(driver.tier.attach(maxEntries: 1500))
        for number in 0..<3000 {
            driver.put(slot, "k\(number)")
            driver.put(other, "k\(number)")
        }
        #expect(driver.tier.usage(slot).evictions == 1500)
        driver.tier.detach(slot)
        #expect(driver.tier.entries == 3000)
        #expect(driver.tier.checkInvariants() == [])

        #expect(driver.tier.attach() == slot)
        #expect(driver.tier.usage(slot) == (0, 0, 0))
        #expect(driver.keys(slot).isEmpty)
        for number in 0..<3000 { driver.put(slot, "k\(number)") }
        #expect(driver.tier.usage(slot).entries == 3000)
        #expect(driver.keys(other).count == 3000)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("nothing is put into a slot that nobody has")
    func unattached() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        driver.put(slot, "a")
        driver.tier.detach(slot)
        #expect(driver.put(slot, "a") == .rejected)
        #expect(driver.put(slot + 1, "a") == .rejected)
        #expect(driver.tier.entries == 0)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("what a namespace uses is what its entries cost, whatever was written over what")
    func usage() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        // 48 for the record, 4 for its bucket, and 4 + 1 + size rounded up to 4.
        driver.put(slot, Array("a".utf8), Content(value: Array(repeating: 0, count: 10)))
        #expect(driver.tier.usage(slot) == (1, 68, 0))
        driver.put(slot, Array("a".utf8), Content(value: Array(repeating: 0, count: 100)))
        #expect(driver.tier.usage(slot) == (1, 160, 0))
        var content = Content(value: Array(repeating: 0, count: 100))
        content.tags = ["abc"]
        content.mediaType = Array("text/plain".utf8)
        content.isJSON = false
        driver.put(slot, Array("a".utf8), content)
        #expect(driver.tier.usage(slot) == (1, 184, 0))
        driver.put(slot, Array("a".utf8), Content(value: Array(repeating: 0, count: 200_000)))
        #expect(driver.tier.usage(slot).bytes > 200_000)
        driver.remove(slot, Array("a".utf8))
        #expect(driver.tier.usage(slot) == (0, 0, 0))
        #expect(driver.tier.checkInvariants() == [])
    }
}
