internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// GET and HEAD of an entry, in both views: conditional ones, peeks, keys in the query, and whatever else the fast lane leaves to the slow
// one.

extension Router {
    func read(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let reading = try Reading(call)
        guard let namespace = store.namespace(call.namespace) else {
            if reading.counts { store.countUnmet(call.namespace) }
            return exchange.respond(MissAnswer.response(.absent, status: reading.missStatus))
        }
        let address = store.address(namespace, call.key)
        guard flight.isTight, let bytes = largeBytes(namespace, address) else {
            return read(namespace, address, reading, exchange)
        }
        // No reference to the value is taken before there is room for it.
        exchange.withRoom(bytes) { [self] claim in
            guard let claim else { return exchange.respond(Response(problem: .noRoom, operation: .get)) }
            withExtendedLifetime(claim) { read(namespace, address, reading, exchange) }
        }
    }

    /// Bytes of a large value in memory that no answer holds yet; `nil` where there is none.
    private func largeBytes(_ namespace: Namespace, _ address: EntryAddress) -> Int? {
        var bytes = 0
        var value: ObjectIdentifier?
        address.key.withUnsafeBytes { key in
            _ = store.lookup(namespace, address.hash, key, store.moment(), counts: false) { found in
                value = found.large?.id
                bytes = found.entry.value.count
            }
        }
        guard let value, !flight.isHeld(value) else { return nil }
        return bytes
    }

    private func read(_ namespace: Namespace, _ address: EntryAddress, _ reading: Reading, _ exchange: Exchange) {
        let moment = store.moment()
        var answer: EntryAnswer?
        let lookup = address.key.withUnsafeBytes { key in
            store.lookup(namespace, address.hash, key, moment, counts: reading.counts) { found in
                answer = reading.answer(found, moment.now, exchange)
            }
        }
        switch lookup {
        case .hit, .absent: if let answer { exchange.respond(answer) }
        case .missing(let reason): exchange.respond(MissAnswer.response(reason, status: reading.missStatus))
        case .below, .omitted:
            exchange.load(namespace, address, counts: reading.counts) { [store] loaded in
                switch loaded {
                case .missing(let reason): exchange.respond(MissAnswer.response(reason, status: reading.missStatus))
                case .refused: exchange.respond(Response(problem: .noRoom, operation: .get))
                case .hit(let hit), .absent(let hit):
                    var answer: EntryAnswer?
                    hit.withFound(address) { answer = reading.answer($0, store.moment().now, exchange) }
                    if let answer { exchange.respond(answer) }
                }
            }
        }
    }
}

/// What a get wants to know of the entry that it finds.
private struct Reading: Sendable {
    let aspect: EntryAspect
    let condition: EntityTags?
    let counts: Bool
    let missStatus: Int

    init(_ call: Call) throws(Problem) {
        aspect = call.resource == .entry ? .entry : .value
        condition = call.condition.ifNoneMatch
        counts = try !call.query.peek()
        missStatus = try call.query.missStatus()
    }

    func answer(_ found: Found, _ now: Timestamp, _ exchange: Exchange) -> EntryAnswer {
        let isKnown = condition.map { $0.any || $0.versions.contains(found.entry.version) } ?? false
        return EntryAnswer(
            found,
            aspect,
            at: now,
            isNotModified: isKnown,
            missStatus: missStatus,
            on: exchange
        )
    }
}
