internal import NIOCore
import PantlerJSON
import PantlerModel
import PantlerStore

/// What a batch of keys asks for.
enum BatchMode: Sendable {
    case entries
    /// Values alone, by their keys.
    case values
    /// The same, with values of bytes as they are, behind the JSON.
    case rawValues
    /// Entries, or else the leases of their keys.
    case leases

    /// How the answer begins, and what stands between the entries and the keys that have none.
    fileprivate var opening: StaticString {
        switch self {
        case .entries, .leases: "{\"entries\":["
        case .values, .rawValues: "{\"values\":{"
        }
    }

    fileprivate var middle: StaticString {
        switch self {
        case .entries: "],\"missing\":["
        case .values, .rawValues: "},\"missing\":["
        case .leases: "],\"leases\":["
        }
    }

    /// Whether the front of an answer can go out before all of it is known.
    var mayComeInPieces: Bool {
        switch self {
        case .entries, .values: true
        case .rawValues, .leases: false
        }
    }
}

/// What a batch of gets has found so far, and its answer, in the order of the keys.
///
/// An entry in memory is written where it stands in the answer. A large value only has its place noted, and goes out from where memory has
/// it. In the common case that is all. What the lower tier brings is put in between when all of it is there. An entry that would make the
/// answer longer than it may be is left out before anything of it is copied.
struct FoundBatch: Sendable {
    /// A key without an entry in memory, or in the answer.
    private struct Other {
        /// The number of the key.
        let index: Int
        /// Where in `answer` its entry would stand.
        let offset: Int
        var state: State
        /// The entry that the lower tier has, as JSON with a comma behind it.
        var object: WireAnswer?
        /// The lease that was given for the key; the object is shown meanwhile then.
        var lease: Lease?
        var refusal: LeaseRefusal?
        /// Whether the refusal is counted already.
        var isCounted = false
        /// Whether the object is a fresh entry, which is refreshed early.
        var isFresh = false

        /// Whether the object stands among the entries.
        var isEntry: Bool { object != nil && lease == nil }

        enum State {
            case missing, omitted
            /// There is a negative entry.
            case absent
            /// The lower tier has to be asked.
            case below
        }
    }

    private let keys: KeyBatch
    let mode: BatchMode
    private let flight: Flight
    /// The answer's beginning and the entries that were in memory, each with a comma behind it.
    private var answer = WireAnswer()
    private var gaps: [ValueGap] = []
    private var entryCount = 0
    /// What `rawValues` has of values of bytes: the members of `bytes`, each with a comma behind it, and the bytes in the same order. They
    /// are in the order in which they were found.
    private var bytesMembers = ByteBuffer()
    private var rawBytes = WireAnswer()
    private var rawGaps: [ValueGap] = []
    /// The keys that have no entry in `answer`, in the order of the keys.
    private var others: [Other] = []

    /// Bytes that the answer may have, and bytes that its entries and the names of all keys take of them.
    private let limit: Int
    private var used: Int
    /// Bytes of `used` that no other answer holds as well.
    private var owned: Int
    /// Bytes of room that the answer has among the bytes in flight.
    private var room: Int
    private var claim: FlightClaim?

    private static let absent: StaticString = "],\"absent\":["
    private static let omitted: StaticString = "],\"omitted\":["
    private static let closing: StaticString = "]}"
    private static let bytesOpening: StaticString = "},\"bytes\":{"
    /// The most bytes that these texts take in an answer, and with the line that says how long the JSON is.
    private static let frameBytes = 64
    private static let framedBytes = 112
    /// The most bytes that a key without an entry takes besides its name in an answer with leases.
    private static let leaseBytes = 112
    /// Bytes of room that are asked for at a time.
    private static let roomStep = 1 << 20

    /// - Parameters:
    ///   - limit: bytes of the answer.
    ///   - claim: holds `room` bytes; `nil` where room is not short.
    init(_ keys: KeyBatch, _ mode: BatchMode, limit: Int, _ flight: Flight, _ claim: FlightClaim?, room: Int) {
        self.keys = keys
        self.mode = mode
        self.flight = flight
        self.limit = limit
        self.claim = claim
        self.room = max(room, Flight.free)
        used = keys.namesBytes + (mode == .rawValues ? Self.framedBytes : Self.frameBytes)
        if mode == .leases { used += keys.count * Self.leaseBytes }
        owned = used
        answer.text.writeStaticString(mode.opening)
    }

    /// Notes that all keys are missing, because there is no namespace to look in.
    mutating func missAll() {
        let offset = answer.text.writerIndex
        others = keys.places.indices.map { Other(index: $0, offset: offset, state: .missing) }
    }

    /// Bytes of the answer that are there and have not been taken.
    var bytes: Int { answer.count + loadedBytes + bytesMembers.readableBytes + rawBytes.count }
    private var loadedBytes = 0

    /// Keys for which the lower tier has to be asked.
    private(set) var belowCount = 0

    /// Asks memory for some of the keys, which come after those that it was asked for before.
    mutating func lookUp(in store: Store, _ namespace: Namespace, _ range: Range<Int>) {
        let keys = keys
        let places = range.count == keys.count ? keys.places : Array(keys.places[range])
        keys.withText { text in
            // Whoever may be given the lease of an entry asks for each key by itself.
            let asksForFresh = mode == .leases && namespace.earlyRefresh > 0
            var isLeft = false
            store.lookup(namespace, text, places, store.moment(), countsMisses: mode != .leases) { found in
                isLeft = mode == .leases && (asksForFresh || found.staleSince != nil)
                return !isLeft && takesRoom(for: found)
            } hit: { found in
                add(found)
            } other: { index, lookup in
                let state: Other.State =
                    switch lookup {
                    case .missing: mode == .leases ? .below : .missing
                    case .absent: .absent
                    case .omitted: isLeft ? .below : .omitted
                    case .below: .below
                    }
                if state == .below { belowCount += 1 }
                others.append(Other(index: range.lowerBound + index, offset: answer.text.writerIndex, state: state))
            }
        }
        // The values are put in here, where no lock is held any more.
        for gap in gaps { answer.add(gap.value(flight), at: gap.offset) }
        for gap in rawGaps { rawBytes.add(gap.value(flight), at: gap.offset) }
        gaps = []
        rawGaps = []
    }

    private mutating func add(_ found: Found) {
        // Entries of a batch are mostly alike: the first one tells how much room all of them need.
        let expected = entryCount == 0 ? min((bytes(of: found).text + 1) * keys.count + 64, Self.firstRoom) : 0
        entryCount += 1
        if isRaw(found) {
            if expected > 0 { rawBytes.text.reserveCapacity(expected) }
            if let gap = BytesMember(found).append(found, to: &bytesMembers, &rawBytes.text) { rawGaps.append(gap) }
        } else {
            if expected > 0 { answer.text.reserveCapacity(expected) }
            if let gap = Self.append(found, mode, to: &answer.text) { gaps.append(gap) }
        }
    }

    /// Bytes of an entry in the answer, with those of a large value and without.
    private func bytes(of found: Found) -> (all: Int, text: Int) {
        if isRaw(found) {
            let member = BytesMember(found)
            return (member.count, member.textCount)
        }
        if mode == .values || mode == .rawValues {
            let member = EntryMember(found)
            return (member.count, member.textCount)
        }
        let object = EntryObject(found)
        return (object.count, object.textCount)
    }

    /// Appends an entry and a comma. Returns the place of a large value.
    // Static: a method would be called on a copy of the batch, which holds the answer's text as well, and each append would copy all of that.
    private static func append(_ found: Found, _ mode: BatchMode, to text: inout ByteBuffer) -> ValueGap? {
        switch mode {
        case .values, .rawValues: EntryMember(found).append(found, to: &text)
        case .entries, .leases: EntryObject(found).append(found, to: &text)
        }
    }

    /// Whether an entry's value goes out as it is, behind the JSON.
    private func isRaw(_ found: Found) -> Bool { mode == .rawValues && !found.entry.isJSON }

    /// The most bytes that are reserved for entries that may not come.
    private static let firstRoom = 256 << 10

    /// Whether there is room for an entry, in the answer and among the bytes in flight. If so, the entry takes that room.
    private mutating func takesRoom(for found: Found) -> Bool {
        let (all, text) = self.bytes(of: found)
        let bytes = all + 1
        guard used + bytes <= limit else { return false }
        // A large value that another answer holds is there, and counted, already.
        let isThere = found.large.map { flight.isHeld($0.id) } ?? false
        let owned = owned + (isThere ? text + 1 : bytes)
        if owned > room {
            let more = owned - room
            let claim = claim ?? flight.claim()
            self.claim = claim
            if claim.tryAsk(max(more, Self.roomStep)) {
                room += max(more, Self.roomStep)
            } else if claim.tryAsk(more) {
                room += more
            } else if entryCount == 0 {
                // One entry at least is answered, so that a client that asks again for the others comes to an end.
                claim.force(more)
                room += more
            } else {
                return false
            }
        }
        used += bytes
        self.owned = owned
        return true
    }

    // MARK: What the lower tier has to be asked for

    /// The places for which the lower tier has to be asked, and the numbers of their keys.
    var below: [(place: Int, index: Int)] {
        others.indices.filter { others[$0].state == .below }.map { ($0, others[$0].index) }
    }

    /// Whether there is room for an entry of the lower tier. If not, its key is omitted. Nothing is copied.
    mutating func takes(_ place: Int, _ hit: LoadedHit, _ address: EntryAddress) -> Bool {
        var takesRoom = false
        hit.withFound(address) { takesRoom = self.takesRoom(for: $0) }
        if takesRoom { return true }
        others[place].state = .omitted
        return false
    }

    /// Whether a value of so many bytes may be read at all.
    func mayTake(_ size: Int64) -> Bool { size <= Int64(limit - used) }

    /// Omits a key whose value is not read.
    mutating func omit(_ place: Int) {
        belowCount -= 1
        others[place].state = .omitted
    }

    /// Takes what has come of asking for a key. Not to be called under a shard's lock.
    mutating func settle(_ place: Int, _ result: BatchResult, _ address: EntryAddress) {
        belowCount -= 1
        others[place].refusal = nil
        switch result {
        case .entry(.hit(let hit)): add(hit, place, address)
        case .entry(.absent): others[place].state = .absent
        case .entry(.missing), .entry(.larger): others[place].state = .missing
        case .given(let lease):
            others[place].state = .missing
            others[place].lease = lease
        case .refresh(let lease, let hit):
            others[place].state = .missing
            others[place].lease = lease
            others[place].isFresh = hit.staleSince == nil
            // Where there is no room for the entry, the lease is told without.
            if takes(place, hit, address) { add(hit, place, address) } else { others[place].state = .missing }
        case .refused(let refusal):
            others[place].state = .missing
            others[place].refusal = refusal
        case .failed:
            others[place].state = .missing
            others[place].refusal = .overloaded
            others[place].isCounted = true
        }
    }

    private mutating func add(_ hit: LoadedHit, _ place: Int, _ address: EntryAddress) {
        if others[place].state == .omitted { return }
        others[place].state = .missing
        var object = WireAnswer()
        var (gap, rawGap): (ValueGap?, ValueGap?)
        hit.withFound(address) { found in
            if isRaw(found) {
                rawGap = BytesMember(found).append(found, to: &bytesMembers, &rawBytes.text)
            } else {
                gap = Self.append(found, mode, to: &object.text)
            }
        }
        if let gap { object.add(gap.value(flight), at: gap.offset) }
        if let rawGap { rawBytes.add(rawGap.value(flight), at: rawGap.offset) }
        // That of a value that goes out raw is empty, and stands for it all the same: the key is not missing.
        loadedBytes += object.count
        others[place].object = object
        if others[place].lease == nil { entryCount += 1 }
    }

    /// Asks once more for a key that was refused.
    mutating func reopen(_ place: Int) {
        belowCount += 1
        others[place].state = .below
    }

    /// The leases that were given, with the numbers of their keys.
    var leases: [(index: Int, lease: Lease)] {
        others.compactMap { other in other.lease.map { (other.index, $0) } }
    }

    /// The numbers of the keys that were refused, and are not counted for that.
    var refused: [Int] { others.compactMap { $0.refusal == nil || $0.isCounted ? nil : $0.index } }

    /// The places of keys that somebody else fills.
    var filling: [(place: Int, index: Int)] {
        others.indices.filter { others[$0].refusal?.reason == .filling }.map { ($0, others[$0].index) }
    }

    // MARK: The answer

    /// Takes what is there of the answer, as a piece that others follow. At least one entry has to be there, and no key may be left for the
    /// lower tier.
    mutating func takePiece() -> WireAnswer {
        var piece = takeEntries()
        others.removeAll(where: \.isEntry)
        // The comma behind the last entry is moved before the next entry, if there is one.
        piece.text.moveWriterIndex(to: piece.text.writerIndex - 1)
        answer.text.reserveCapacity(Self.firstRoom)
        answer.text.writeStaticString(",")
        // From here on the piece counts itself.
        claim = nil
        owned = keys.namesBytes + Self.frameBytes
        room = max(owned, Flight.free)
        return piece
    }

    /// The answer, or what has not been taken of it: `{"entries":[…],"missing":[…],"absent"?:[…],"omitted"?:[…]}`, with `"values":{…}` in the entries'
    /// place where that was asked for. What was found is moved out of here, so that it is not copied.
    ///
    /// With `rawValues`, where there are values of bytes, the JSON has `"bytes":{…}` besides, stands behind a line with its length, and
    /// before the bytes.
    mutating func response() -> WireAnswer {
        var body = takeEntries()
        // The comma behind the last entry is removed.
        if body.endsInComma { body.text.moveWriterIndex(to: body.text.writerIndex - 1) }
        let isFramed = isFramed
        if isFramed {
            body.text.writeStaticString(Self.bytesOpening)
            bytesMembers.moveWriterIndex(to: bytesMembers.writerIndex - 1)
            body.text.writeBuffer(&bytesMembers)
        }
        body.text.writeStaticString(mode.middle)
        if mode == .leases { writeLeases(to: &body) } else { writeNames(.missing, to: &body.text) }
        for (state, opening) in [(Other.State.absent, Self.absent), (.omitted, Self.omitted)]
        where others.contains(where: { $0.object == nil && $0.state == state }) {
            body.text.writeStaticString(opening)
            writeNames(state, to: &body.text)
        }
        body.text.writeStaticString(Self.closing)
        if isFramed { body = rawBytes.behind(body) }
        // From here on the values count themselves, and what was asked for in advance is given back.
        if body.textBytes > Flight.free {
            body.claim = flight.claim()
            body.claim?.force(body.textBytes)
        }
        claim = nil
        return body
    }

    /// Whether there are values of bytes that go out behind the JSON.
    var isFramed: Bool { bytesMembers.readableBytes > 0 }

    /// Writes the leases, and the keys that were refused: `…],"busy":[…`.
    private func writeLeases(to body: inout WireAnswer) {
        var isFirst = true
        for other in others {
            guard let lease = other.lease else { continue }
            var text = JSONWriter(capacity: 160)
            text.beginObject()
            text.member("key")
            text.string(keys[other.index])
            text.leaseMembers(lease)
            if !isFirst { body.text.writeStaticString(",") }
            isFirst = false
            body.text.writeBytes(text.bytes)
            if let object = other.object {
                body.text.writeStaticString(",\"stale_entry\":")
                // Without the comma behind it.
                body.append(object, 0..<object.text.writerIndex - 1)
                if other.isFresh { body.text.writeStaticString(",\"fresh\":true") }
            }
            body.text.writeStaticString("}")
        }
        body.text.writeStaticString("],\"busy\":[")
        var text = JSONWriter()
        text.beginArray()
        for other in others {
            guard let refusal = other.refusal else { continue }
            text.beginObject()
            text.member("key")
            text.string(keys[other.index])
            text.member("retry_after")
            text.seconds(refusal.retryAfter)
            text.member("reason")
            text.string(refusal.reason.rawValue)
            text.endObject()
        }
        // The array's brackets stand in the answer's own text.
        body.text.writeBytes(text.bytes.dropFirst())
    }

    private func writeNames(_ state: Other.State, to text: inout ByteBuffer) {
        var names: [UInt8] = []
        for other in others where other.object == nil && other.state == state {
            if !names.isEmpty { names.append(UInt8(ascii: ",")) }
            keys.withText { JSON.appendString($0.slice(keys.places[other.index]), to: &names) }
        }
        text.writeBytes(names)
    }

    /// Takes the answer up to the last entry.
    private mutating func takeEntries() -> WireAnswer {
        var answer = WireAnswer()
        swap(&answer, &self.answer)
        if loadedBytes == 0 { return answer }
        loadedBytes = 0
        var whole = WireAnswer()
        let loadedText = others.reduce(0) { $0 + ($1.isEntry ? $1.object?.text.readableBytes ?? 0 : 0) }
        whole.text.reserveCapacity(answer.text.readableBytes + loadedText + 64)
        var copied = 0
        for other in others {
            guard other.isEntry, let object = other.object else { continue }
            whole.append(answer, copied..<other.offset)
            whole.append(object, 0..<object.text.writerIndex)
            copied = other.offset
        }
        whole.append(answer, copied..<answer.text.writerIndex)
        return whole
    }
}

extension WireAnswer {
    fileprivate var endsInComma: Bool {
        text.readableBytes > 0 && text.getInteger(at: text.writerIndex - 1) == UInt8(ascii: ",")
    }

    /// These bytes behind a JSON text, and before both a line with the length of that text.
    fileprivate func behind(_ json: WireAnswer) -> WireAnswer {
        var framed = WireAnswer()
        let line = "\(json.count)\n"
        guard json.count > Flight.free || !json.values.isEmpty else {
            // The bytes stay where they are, and the JSON is short enough to be copied behind the answer's head.
            framed = self
            framed.head.writeString(line)
            framed.head.writeImmutableBuffer(json.text)
            return framed
        }
        framed.text.reserveCapacity(line.utf8.count + json.textBytes + textBytes)
        framed.text.writeString(line)
        for part in [json, self] { framed.append(part) }
        return framed
    }

    /// Appends all of another.
    private mutating func append(_ other: WireAnswer) {
        let start = text.writerIndex - other.text.readerIndex
        text.writeImmutableBuffer(other.text)
        for (offset, value) in other.values { add(value, at: start + offset) }
    }
}
