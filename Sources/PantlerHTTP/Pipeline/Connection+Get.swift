internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// The way of a hit: looked up and answered in place.
extension Connection {
    /// Answers a plain GET, or asks for what it is answered with.
    func answer(_ request: FastLane.FastRequest, _ frame: AnswerFrame) {
        guard let namespace = loop.namespace(request.namespace) else {
            loop.store.countUnmet(request.namespace)
            return answerMiss(.absent, request, frame)
        }
        let hash = loop.store.hash(namespace, request.key)
        let moment = moment
        let lookup = gather { output in
            var gap: ValueGap?
            let lookup = loop.store.lookup(namespace, hash, request.key, moment, counts: true) { found in
                gap = EntryAnswer.write(
                    found,
                    request.aspect,
                    at: moment.now,
                    isNotModified: false,
                    frame,
                    to: &output
                )
            }
            // No lock is held any more: a large value can take its time.
            gap?.fill(&output)
            return lookup
        }
        switch lookup {
        case .hit:
            fastAnswers.hits += 1
            if isLogged { log(.get, target(request), 200, since: burstBegan) }
        case .missing(let reason): answerMiss(reason, request, frame)
        case .below: load(namespace, hash, request)
        }
    }

    private func answerMiss(_ reason: MissReason, _ request: FastLane.FastRequest, _ frame: AnswerFrame) {
        gather { MissAnswer.write(reason, frame, to: &$0) }
        fastAnswers.misses += 1
        if isLogged { log(.get, target(request), 404, since: burstBegan) }
    }

    /// Asks the lower tier, whose answer finds its place in the order by its number.
    private func load(_ namespace: Namespace, _ hash: UInt64, _ request: FastLane.FastRequest) {
        let load = PendingLoad(
            request: beginLate(request),
            aspect: request.aspect,
            address: EntryAddress(namespace: namespace.id, key: Array(request.key), hash: hash)
        )
        loads += 1
        let connection = NIOLoopBound(self, eventLoop: loop.eventLoop)
        loop.store.load(namespace, load.address, counts: true) { result in
            connection.eventLoop.perform { connection.value.finish(load, result) }
        }
    }

    private struct PendingLoad: Sendable {
        let request: LateRequest
        let aspect: EntryAspect
        let address: EntryAddress
    }

    private func finish(_ load: PendingLoad, _ result: LoadResult) {
        loads -= 1
        finish(load.request, .get) { frame, answer in
            switch result {
            case .hit(let hit):
                let now = moment.now
                hit.withFound(load.address) { found in
                    EntryAnswer.write(found, load.aspect, at: now, isNotModified: false, frame, to: &answer)?
                        .fill(&answer)
                }
                return 200
            case .missing(let reason):
                MissAnswer.write(reason, frame, to: &answer)
                return 404
            }
        }
    }
}
