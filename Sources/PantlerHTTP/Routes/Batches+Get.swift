internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore
internal import Synchronization

extension Router {
    func getBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let keys = try request.body.withBytes { body throws(Problem) in try KeyBatch(body) }
        var found = FoundBatch(keys)
        guard let namespace = store.namespace(call.namespace) else {
            store.countUnmet(call.namespace, gets: keys.count)
            found.missAll()
            return exchange.respond(found.response())
        }
        found.lookUp(in: store, namespace)
        if found.pending == 0 { return exchange.respond(found.response()) }

        // Each load reports on whatever thread it ends; the last one answers.
        let below = found.below
        let batch = Shared(found)
        for (place, index) in below {
            let address = store.address(namespace, keys[index])
            store.load(namespace, address, counts: true) { loaded in
                let isLast = batch.state.withLock { found in
                    found.settle(place, loaded, address)
                    return found.pending == 0
                }
                if isLast { exchange.respondFromAnywhere { batch.state.withLock { $0.response() } } }
            }
        }
    }

    private final class Shared: Sendable {
        let state: Mutex<FoundBatch>

        init(_ batch: FoundBatch) { state = Mutex(batch) }
    }
}

/// What a batch of gets has found so far, and its answer, in the order of the keys.
///
/// An entry in memory is written where it stands in the answer. That is all of it in the common case; what the lower tier brings
/// is put in between when all of it is there.
struct FoundBatch: Sendable {
    /// A key without an entry in memory.
    private struct Other {
        /// The number of the key.
        let index: Int
        /// Where in `answer` its entry would stand.
        let offset: Int
        /// Whether the lower tier has to tell.
        let isBelow: Bool
        /// The entry that the lower tier has, as JSON with a comma behind it.
        var object = ByteBuffer()
    }

    private let keys: KeyBatch
    /// The answer's beginning and the entries that were in memory, each with a comma behind it.
    private var answer = ByteBuffer()
    private var entryCount = 0
    /// In the order of the keys.
    private var others: [Other] = []
    /// Keys that the lower tier has not reported on.
    private(set) var pending = 0

    private static let opening: StaticString = "{\"entries\":["
    private static let middle: StaticString = "],\"missing\":["
    private static let closing: StaticString = "]}"

    init(_ keys: KeyBatch) {
        self.keys = keys
        answer.writeStaticString(Self.opening)
    }

    /// There is no namespace to look in.
    mutating func missAll() {
        let offset = answer.writerIndex
        others = keys.places.indices.map { Other(index: $0, offset: offset, isBelow: false) }
    }

    /// Asks memory for all keys.
    mutating func lookUp(in store: Store, _ namespace: Namespace) {
        let keys = keys
        keys.withText { text in
            store.lookup(namespace, text, keys.places, store.moment()) { found in
                add(found)
            } other: { index, lookup in
                let isBelow = if case .below = lookup { true } else { false }
                others.append(Other(index: index, offset: answer.writerIndex, isBelow: isBelow))
                if isBelow { pending += 1 }
            }
        }
    }

    private mutating func add(_ found: Found) {
        let object = EntryObject(found)
        // Entries of a batch are mostly alike: the first one tells how much room all of them need.
        if entryCount == 0 { answer.reserveCapacity(min((object.count + 1) * keys.count + 64, Self.firstRoom)) }
        object.append(found, to: &answer)
        entryCount += 1
    }

    /// Most room that is made for entries that may not come.
    private static let firstRoom = 256 << 10

    /// What the lower tier has to be asked for: places to settle, and the numbers of their keys.
    var below: [(place: Int, index: Int)] {
        others.indices.filter { others[$0].isBelow }.map { ($0, others[$0].index) }
    }

    /// Takes what the lower tier says.
    mutating func settle(_ place: Int, _ loaded: LoadResult, _ address: EntryAddress) {
        pending -= 1
        guard case .hit(let hit) = loaded else { return }
        hit.withFound(address) { EntryObject($0).append($0, to: &others[place].object) }
        entryCount += 1
    }

    /// `{"entries":[…],"missing":[…]}`. Takes what was found out of here: it is not copied for its end to be written.
    mutating func response() -> Response {
        var body = takeEntries()
        // The last entry's comma.
        if entryCount > 0 { body.moveWriterIndex(to: body.writerIndex - 1) }
        body.writeStaticString(Self.middle)
        var missing: [UInt8] = []
        for other in others where other.object.readableBytes == 0 {
            if !missing.isEmpty { missing.append(UInt8(ascii: ",")) }
            keys.withText { JSON.appendString($0.slice(keys.places[other.index]), to: &missing) }
        }
        body.writeBytes(missing)
        body.writeStaticString(Self.closing)
        return Response(status: 200, contentType: MediaType.json, body: body, operation: .batchGet)
    }

    /// The answer up to the last entry.
    private mutating func takeEntries() -> ByteBuffer {
        var answer = ByteBuffer()
        swap(&answer, &self.answer)
        let loadedBytes = others.reduce(0) { $0 + $1.object.readableBytes }
        if loadedBytes == 0 { return answer }
        var whole = ByteBuffer()
        whole.reserveCapacity(answer.readableBytes + loadedBytes + 64)
        var copied = 0
        for other in others where other.object.readableBytes > 0 {
            whole.writeBytes(answer.readableBytesView[copied..<other.offset])
            whole.writeBytes(other.object.readableBytesView)
            copied = other.offset
        }
        whole.writeBytes(answer.readableBytesView[copied...])
        return whole
    }
}
