import PantlerModel
import Synchronization

/// When keys were last used, roughly, shared between threads. It tells the rows that leave to make room from those that stay.
final class RecentUse: Sendable {
    private let uses = Mutex(LastUses(capacity: LastUses.leastCapacity))

    /// A key was used now.
    func note(_ hash: UInt64) { uses.withLock { $0.note(hash) } }

    /// A key was last used at a moment of the clock's monotonic time, in microseconds.
    func note(_ hash: UInt64, at moment: UInt64) { uses.withLock { $0.note(hash, at: moment) } }

    /// How many epochs ago a key was last used; `LastUses.ages` if that is unknown, or longer ago.
    ///
    /// - Parameter moment: when it was last used as others know; `nil` if they do not.
    func age(_ hash: UInt64, at moment: UInt64? = nil) -> Int {
        uses.withLock { uses in
            let age = uses.age(of: hash)
            return moment.map { min(age, uses.age(at: $0)) } ?? age
        }
    }

    // MARK: The writer's thread

    /// Begins the next epoch if it is due, and makes room for more keys. Each call does a small piece of what there is to do.
    ///
    /// - Parameters:
    ///   - rows: how many there are.
    ///   - now: the clock's monotonic time, in microseconds.
    func advance(rows: Int, now: @autoclosure () -> UInt64) {
        let (isDue, isSmall) = uses.withLock { ($0.isDue(rows: rows), $0.capacity < rows) }
        if isDue {
            let now = now()
            uses.withLock { $0.advance(now: now) }
        }
        guard isSmall else { return }
        // Made without the lock: nobody waits for megabytes of zeros.
        let larger = LastUses.SlotTable(capacity: rows / 2 * 3)
        let old = uses.withLock { $0.grow(larger) }
        withExtendedLifetime(old) {}
    }
}

/// When keys were last used, as a value.
///
/// Time is counted in epochs. One is over when a sixteenth as many keys were used in it as there are rows, so that what was used in the last
/// 31 epochs comes to twice the rows. A key is remembered by 16 bits: 11 of its hash, and 5 for the epoch; 32 of them in the two cache lines
/// that its hash chooses, where a new key takes the place of the one that was used longest ago. Two keys are taken for one in one look-up
/// of about a hundred: the older of them then seems younger than it is.
///
/// It takes 2 to 3 bytes a row.
struct LastUses {
    /// Ages are from 0, this epoch, to 30; 31 stands for all that is older.
    static let ages = 31
    static let leastCapacity = 4096
    private static let epochsARevolution = 16
    private static let wordsALine = 8
    private static let slotsAWord = 4
    private static let epochMask: UInt64 = 31
    /// Words that one call of `advance` looks at.
    private static let step = 8192

    struct SlotTable {
        /// Four slots in each: the epoch in the lowest 5 bits, 0 = free; and the tag.
        fileprivate var words: [UInt64]
        private let lines: UInt64

        init(capacity: Int) {
            lines = UInt64(max(1, capacity / (LastUses.wordsALine * LastUses.slotsAWord)))
            words = [UInt64](repeating: 0, count: Int(lines) * LastUses.wordsALine)
        }

        fileprivate var capacity: Int { words.count * LastUses.slotsAWord }

        /// By the upper bits of the hash (Lemire, "Fast random integer generation in an interval", 2019).
        fileprivate func line(of hash: UInt64) -> Range<Int> {
            let start = Int(truncatingIfNeeded: hash.multipliedFullWidth(by: lines).high) * LastUses.wordsALine
            return start..<start + LastUses.wordsALine
        }
    }

    private var table: SlotTable
    /// The table before it grew, until nothing in it is young enough to matter.
    private var old: SlotTable?
    private var oldEpochs = 0
    /// 1 to 31, and again from 1.
    private var epoch: UInt64 = 1
    /// When each epoch began, by its number.
    private var starts = [UInt64](repeating: 0, count: LastUses.ages + 1)
    /// Keys whose use was noted in this epoch.
    private var noted = 0
    /// How many words of the table are rid of uses of the epoch whose number the next one will have.
    private var cleared = 0

    init(capacity: Int) { table = SlotTable(capacity: capacity) }

    var capacity: Int { table.capacity }

    // MARK: Noting

    mutating func note(_ hash: UInt64) { note(hash, epoch: epoch) }

    mutating func note(_ hash: UInt64, at moment: UInt64) {
        let age = age(at: moment)
        if age < Self.ages { note(hash, epoch: self.epoch(ofAge: age)) }
    }

    /// Complexity: O(1): one line.
    private mutating func note(_ hash: UInt64, epoch wanted: UInt64) {
        let tag = Self.tag(of: hash)
        var victim = (word: 0, shift: UInt64(0), age: -1)
        for word in table.line(of: hash) {
            let slots = table.words[word]
            for slot in 0..<UInt64(Self.slotsAWord) {
                let shift = slot * 16
                let found = slots >> shift & 0xffff
                let epoch = found & Self.epochMask
                let age = epoch == 0 ? Self.ages + 1 : self.age(ofEpoch: epoch)
                if epoch != 0, found >> 5 == tag {
                    if age > self.age(ofEpoch: wanted) { set(word, shift, tag, wanted) }
                    return
                }
                if age > victim.age { victim = (word, shift, age) }
            }
        }
        // A use that is older than all in the line is not noted.
        if victim.age >= self.age(ofEpoch: wanted) { set(victim.word, victim.shift, tag, wanted) }
    }

    private mutating func set(_ word: Int, _ shift: UInt64, _ tag: UInt64, _ epoch: UInt64) {
        table.words[word] = table.words[word] & ~(0xffff << shift) | (tag << 5 | epoch) << shift
        noted += 1
    }

    // MARK: Ages

    /// Complexity: O(1): one line, or two for a while after growing.
    func age(of hash: UInt64) -> Int {
        min(age(of: hash, in: table), old.map { age(of: hash, in: $0) } ?? Self.ages)
    }

    private func age(of hash: UInt64, in table: borrowing SlotTable) -> Int {
        let tag = Self.tag(of: hash)
        var youngest = Self.ages
        for word in table.line(of: hash) {
            var slots = table.words[word]
            while slots != 0 {
                let epoch = slots & Self.epochMask
                if epoch != 0, slots >> 5 & 0x7ff == tag { youngest = min(youngest, age(ofEpoch: epoch)) }
                slots >>= 16
            }
        }
        return youngest
    }

    /// The age of a moment of the clock's monotonic time. Complexity: O(ages).
    func age(at moment: UInt64) -> Int {
        (0..<Self.ages).first { starts[Int(epoch(ofAge: $0))] <= moment } ?? Self.ages
    }

    private func age(ofEpoch number: UInt64) -> Int {
        Int(epoch >= number ? epoch - number : epoch + UInt64(Self.ages) - number)
    }

    private func epoch(ofAge age: Int) -> UInt64 {
        UInt64(age) < epoch ? epoch - UInt64(age) : epoch + UInt64(Self.ages - age)
    }

    private static func tag(of hash: UInt64) -> UInt64 { hash & 0x7ff }

    // MARK: Epochs

    func isDue(rows: Int) -> Bool { noted >= max(1, rows / Self.epochsARevolution) }

    /// Does a piece of what is to be done before the next epoch can begin, and then begins it.
    mutating func advance(now: UInt64) {
        let next = epoch % UInt64(Self.ages) + 1
        // Uses with the next number are of the oldest epoch that can be told, and would be taken for the youngest.
        let end = min(cleared + Self.step, table.words.count)
        for word in cleared..<end where table.words[word] != 0 {
            for slot in 0..<UInt64(Self.slotsAWord) where table.words[word] >> (slot * 16) & Self.epochMask == next {
                table.words[word] &= ~(0xffff << (slot * 16))
            }
        }
        cleared = end
        guard end == table.words.count else { return }
        cleared = 0
        noted = 0
        epoch = next
        starts[Int(next)] = now
        oldEpochs -= 1
        if oldEpochs <= 0 { old = nil }
    }

    /// Takes a larger table into use.
    ///
    /// - Returns: one that is not needed any more, for the caller to let go of without a lock.
    mutating func grow(_ larger: SlotTable) -> SlotTable? {
        let dropped = old
        old = table
        oldEpochs = Self.ages - 1
        table = larger
        cleared = 0
        return dropped
    }
}
