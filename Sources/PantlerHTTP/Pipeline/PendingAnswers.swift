internal import NIOCore

/// The answers of one connection that cannot be sent yet, in the order of their requests. This is a value, without I/O.
///
/// A request that is answered later has a slot. Answers to requests after it that are there already wait behind it, as bytes.
struct PendingAnswers {
    private struct Slot {
        /// Bytes that the request holds until it is answered.
        var held: Int
        var answer: WireAnswer?
        /// Answers to requests between this one and the next that has a slot.
        var behind = WireAnswer()
        var behindCount = 0
    }

    private var slots = CircularBuffer<Slot>()
    /// The number of the first slot.
    private(set) var first: UInt64 = 0
    /// Bytes that wait: those of answers, and those that requests without an answer hold. Large values are not counted here, because they
    /// lie in memory anyway.
    private(set) var heldBytes = 0

    /// Bytes of the large values in these answers.
    private(set) var valueBytes = 0

    var isEmpty: Bool { slots.isEmpty }

    /// Requests without an answer, and those whose answer waits for an earlier one.
    private(set) var count = 0

    /// Adds a slot for the answer to the next request, and returns its number.
    ///
    /// - Parameter held: bytes that the request holds until it is answered.
    mutating func begin(holding held: Int = 0) -> UInt64 {
        slots.append(Slot(held: held))
        heldBytes += held
        count += 1
        return first + UInt64(slots.count - 1)
    }

    /// Whether a number's answer is the last of all.
    func isLast(_ number: UInt64) -> Bool {
        number + 1 == first + UInt64(slots.count) && slots.last?.behind.count == 0
    }

    /// Runs `body` with the buffer that takes the answer to a request that came after all slots, and is answered at once. There
    /// must be a slot.
    mutating func addBehind<Answer>(_ body: (inout ByteBuffer) -> Answer) -> Answer {
        var slot = slots.removeLast()
        let before = slot.behind.text.readableBytes
        let answer = body(&slot.behind.text)
        if slot.behind.text.readableBytes > before {
            heldBytes += slot.behind.text.readableBytes - before
            slot.behindCount += 1
            count += 1
        }
        slots.append(slot)
        return answer
    }

    /// Puts a value into the answer that `addBehind` has added last.
    mutating func addBehind(_ value: OutgoingValue, at offset: Int) {
        var slot = slots.removeLast()
        slot.behind.add(value, at: offset)
        valueBytes += value.count
        slots.append(slot)
    }

    /// Whether a number's answer is the next to be sent, and not there yet.
    func isNext(_ number: UInt64) -> Bool { number == first && slots.first.map { $0.answer == nil } == true }

    /// Removes the first slot, whose answer is written elsewhere. Returns the answers behind it.
    mutating func endFirst() -> WireAnswer {
        let slot = slots.removeFirst()
        first += 1
        heldBytes -= slot.held + slot.behind.text.readableBytes
        valueBytes -= slot.behind.valueBytes
        count -= 1 + slot.behindCount
        return slot.behind
    }

    /// Takes an answer. Returns `false` for one whose request has been answered before.
    mutating func settle(_ number: UInt64, _ answer: WireAnswer) -> Bool {
        guard number >= first, number - first < UInt64(slots.count) else { return false }
        let index = slots.index(slots.startIndex, offsetBy: Int(number - first))
        guard slots[index].answer == nil else { return false }
        slots[index].answer = answer
        heldBytes += answer.textBytes - slots[index].held
        valueBytes += answer.valueBytes
        return true
    }

    /// Removes and returns the next answer that is ready to be sent, and those behind it; `nil` if there is none.
    mutating func takeReady() -> (answer: WireAnswer, behind: WireAnswer)? {
        guard let answer = slots.first?.answer else { return nil }
        let slot = slots.removeFirst()
        first += 1
        heldBytes -= answer.textBytes + slot.behind.text.readableBytes
        valueBytes -= answer.valueBytes + slot.behind.valueBytes
        count -= 1 + slot.behindCount
        return (answer, slot.behind)
    }

    mutating func removeAll() {
        first += UInt64(slots.count)
        slots.removeAll()
        heldBytes = 0
        valueBytes = 0
        count = 0
    }
}
