internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// Plain requests for leases: a hit is looked up and answered in place. All else is left to the slow lane.
extension Connection {
    /// Answers a request for a lease that finds its entry. Returns `false` for any other, of which nothing is counted.
    func answerHit(
        _ request: FastLane.FastRequest,
        _ body: UnsafeRawBufferPointer,
        _ frame: AnswerFrame
    ) -> Bool {
        // Where room is short, the slow lane finds room for a large value first. It also tells what is wrong with a body.
        guard !loop.flight.isTight, (try? LeaseAsk(body)) != nil, let namespace = loop.namespace(request.namespace)
        else {
            return false
        }
        let hash = loop.store.hash(namespace, request.key)
        let moment = moment
        var gap: ValueGap?
        let isHit = gather { output in
            loop.store.hit(namespace, hash, request.key, moment) { found in
                if found.entry.isAbsent { return AbsentAnswer.writeFound(found, at: moment.now, frame, to: &output) }
                gap = EntryAnswer.write(
                    found,
                    .entry,
                    at: moment.now,
                    isNotModified: false,
                    frame,
                    to: &output
                )
            }
        }
        if let gap { send(gap) }
        guard isHit else { return false }
        fastAnswers.leaseHits += 1
        if isLogged { log(.lease, logged(.post, request), 200, since: state.burstBegan) }
        return true
    }
}
