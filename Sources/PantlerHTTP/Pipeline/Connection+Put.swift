internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// The way of a plain write: stored and answered in place, where nothing has to be waited for.
extension Connection {
    /// Carries out a plain PUT of an entry, and answers it. If that takes longer, nothing begins before the change is made, and
    /// then only further plain PUTs do before it is answered. No GET is pending.
    func put(_ request: FastLane.FastRequest, _ body: UnsafeRawBufferPointer, _ frame: AnswerFrame) {
        // A copy: where it lies now, a connection whose waiting request this one lets go on may decode its own.
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
            if isLogged { log(.put, target(request), WrittenAnswer.status(written), since: state.burstBegan) }
        case .failure(let problem):
            let response = Response(problem: problem, operation: .put)
            gather { response.write(frame, to: &$0) }
            record(.put, .put, .fast, isLogged ? target(request) : "", response.status, since: state.burstBegan)
        }
    }

    /// - Returns: what the request is to be answered with; `nil` = it will be, later.
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
                request: late(request, state.beginPut(holding: request.length, closes: request.closes)),
                bodyBytes: body.count,
                key: address.key,
                connection: self
            )
            return LateAnswer(made: { put.noteMade() }, completion: { put.finish($0) })
        }
    }

    /// A put that is answered later. One object for all that happens to it: closures that hold nothing else cost nothing.
    private final class LatePut: Sendable {
        let request: LateRequest
        private let key: [UInt8]
        private let connection: NIOLoopBound<Connection>
        /// What counts a body that is not small among the bytes in flight, also when nobody is there any more to be answered.
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

    /// The change waits for its commit and sync alone.
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
