internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// Plain PUTs: they are stored and answered in place, where nothing has to be waited for.
extension Connection {
    /// Carries out a plain PUT of an entry, and answers it. If the answer takes longer, no request begins before the change is made, and
    /// after that only further plain PUTs do until it is answered. No GET may be under way.
    func put(_ request: FastLane.FastRequest, _ body: UnsafeRawBufferPointer, _ frame: AnswerFrame) {
        // The key is copied: this write may let another connection of the loop go on with a request, which decodes its own key into the
        // same memory.
        let key = Array(request.key)
        let result: Result<Written, Problem>?
        do throws(Problem) {
            result = try store(request, key, body)
        } catch {
            result = .failure(error)
        }
        switch result {
        case nil: break
        case .success(let written):
            key.withUnsafeBytes { key in gather { WrittenAnswer.write(written, key, frame, to: &$0) } }
            if written.isNew { fastAnswers.made += 1 } else { fastAnswers.replaced += 1 }
            if isLogged { log(.put, logged(.put, request), WrittenAnswer.status(written), since: state.burstBegan) }
        case .failure(let problem):
            let response = Response(problem: problem, operation: .put)
            gather { response.write(frame, to: &$0) }
            record(.put, .fast, logged(.put, request), response.status, since: state.burstBegan)
        }
    }

    /// - Returns: the outcome to answer with; `nil` = the answer comes later.
    private func store(
        _ request: FastLane.FastRequest,
        _ key: [UInt8],
        _ body: UnsafeRawBufferPointer
    ) throws(Problem) -> Result<Written, Problem>? {
        let put = try Put(envelope: body, now: moment.wall)
        let namespace = try loop.namespaceForWriting(request.namespace) { policy throws(Problem) in
            try put.check(policy)
        }
        let address = loop.store.address(namespace, key)
        return loop.store.put(namespace, address, put, at: moment) {
            let put = LatePut(
                request: late(.put, request, state.beginPut(holding: request.length, closes: request.closes)),
                bodyBytes: body.count,
                key: address.key,
                connection: self
            )
            return LateAnswer(made: { put.noteMade() }, completion: { put.finish($0) })
        }
    }

    /// A put that is answered later. One object has all that its completions need, because a closure that holds nothing else allocates
    /// nothing.
    private final class LatePut: Sendable {
        let request: LateRequest
        private let key: [UInt8]
        private let connection: NIOLoopBound<Connection>
        /// Counts a body that is not small among the bytes in flight until the write is over, even if the connection is gone by then.
        private let claim: FlightClaim?

        init(request: LateRequest, bodyBytes: Int, key: [UInt8], connection: Connection) {
            self.request = request
            self.key = key
            claim = bodyBytes > Flight.free ? connection.loop.flight.claim() : nil
            claim?.force(bodyBytes)
            self.connection = NIOLoopBound(connection, eventLoop: connection.loop.eventLoop)
        }

        func noteMade() {
            connection.eventLoop.perform { self.connection.value.noteMade(self.request) }
        }

        func finish(_ result: Result<Written, Problem>) {
            connection.eventLoop.perform { self.connection.value.finish(self.request, self.key, result) }
        }
    }

    /// Notes that the change is made, and only waits for its commit and sync.
    private func noteMade(_ put: LateRequest) {
        if state.made(put.number) { burst {} }
    }

    private func finish(_ put: LateRequest, _ key: [UInt8], _ result: Result<Written, Problem>) {
        state.completed(put.number)
        gatheringBurst {
            finish(put, .put) { frame, answer in
                switch result {
                case .success(let written):
                    key.withUnsafeBytes { WrittenAnswer.write(written, $0, frame, to: &answer) }
                    return (WrittenAnswer.status(written), nil)
                case .failure(let problem):
                    let response = Response(problem: problem, operation: .put)
                    response.write(frame, to: &answer)
                    return (response.status, nil)
                }
            }
        }
    }
}
