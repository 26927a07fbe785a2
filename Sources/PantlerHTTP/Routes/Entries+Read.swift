internal import NIOCore
import PantlerInsight
import PantlerMemory
import PantlerModel
import PantlerStore

// GET and HEAD of an entry, in both views: conditional ones, peeks, keys in the query, and whatever else the fast lane
// leaves to this one.

extension Router {
    func read(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let reading = Reading(call, counts: try !call.query.peek())
        // Nothing is counted of a namespace that is not there.
        guard let namespace = store.namespace(call.namespace) else {
            return exchange.respond(MissAnswer.response(.absent))
        }
        let address = store.address(namespace, call.key)
        let moment = store.moment()
        var answer: Reading.Answer?
        let lookup = address.key.withUnsafeBytes { key in
            store.lookup(namespace, address.hash, key, moment, counts: reading.counts) { found in
                answer = reading.answer(found, moment.now, exchange)
            }
        }
        switch lookup {
        case .hit: answer?.send(on: exchange)
        case .missing(let reason): exchange.respond(MissAnswer.response(reason))
        case .below:
            store.load(namespace, address, counts: reading.counts) { [store] loaded in
                exchange.onLoop {
                    switch loaded {
                    case .missing(let reason): exchange.respond(MissAnswer.response(reason))
                    case .hit(let hit):
                        var answer: Reading.Answer?
                        hit.withFound(address) { answer = reading.answer($0, store.moment().now, exchange) }
                        answer?.send(on: exchange)
                    }
                }
            }
        }
    }
}

/// What a get wants to know of the entry that it finds.
private struct Reading: Sendable {
    enum Answer {
        case entry(EntryAnswer)
        case other(Response)

        /// Outside of the store's closure.
        func send(on exchange: Exchange) {
            switch self {
            case .entry(let answer): exchange.respond(answer)
            case .other(let response): exchange.respond(response)
            }
        }
    }

    let aspect: EntryAspect
    let condition: EntityTags?
    let accept: Accept
    let counts: Bool

    init(_ call: Call, counts: Bool) {
        aspect = call.resource == .entry ? .entry : .value
        condition = call.condition.ifNoneMatch
        accept = call.accept
        self.counts = counts
    }

    func answer(_ found: Found, _ now: Timestamp, _ exchange: Exchange) -> Answer {
        if aspect == .value {
            do throws(Problem) {
                let type = String(decoding: found.entry.mediaType, as: UTF8.self)
                try accept.check(found.entry.isJSON ? MediaType.json : MediaType.essence(type))
            } catch {
                return .other(Response(problem: error, operation: .get))
            }
        }
        let isKnown = condition.map { $0.any || $0.versions.contains(found.entry.version) } ?? false
        return .entry(EntryAnswer(found, aspect, at: now, isNotModified: isKnown, on: exchange))
    }
}
