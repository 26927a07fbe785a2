internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// The way of a plain write: stored and answered in place, where nothing has to be waited for.
extension Connection {
    /// Carries out a plain PUT of an entry, and answers it. If that takes longer, it has the connection to itself until then, as a
    /// request of the slow lane has. Nothing is pending.
    func put(_ request: FastLane.FastRequest, _ body: UnsafeRawBufferPointer, _ frame: AnswerFrame) {
        let result: Result<Written, Problem>?
        do throws(Problem) {
            result = try store(request, body)
        } catch {
            result = .failure(error)
        }
        switch result {
        case nil: break
        case .success(let written):
            WrittenAnswer.write(written, request.key, frame, to: &output)
            if written.isNew { fastAnswers.made += 1 } else { fastAnswers.replaced += 1 }
            if isLogged { log(.put, target(request), WrittenAnswer.status(written), since: burstBegan) }
        case .failure(let problem):
            let response = Response(problem: problem, operation: .put)
            response.write(frame, to: &output)
            record(.put, .put, isLogged ? target(request) : "", response.status, since: burstBegan)
        }
    }

    /// - Returns: what the request is to be answered with; `nil` = it will be, later.
    private func store(
        _ request: FastLane.FastRequest,
        _ body: UnsafeRawBufferPointer
    ) throws(Problem) -> Result<Written, Problem>? {
        let put = try Put(envelope: body, now: moment.now)
        let namespace = try loop.namespaceForWriting(request.namespace)
        let address = loop.store.address(namespace, Array(request.key))
        return loop.store.put(namespace, address, put, at: moment) {
            let exchange = beginExclusive(.put, target: isLogged ? target(request) : "", began: burstBegan)
            return { result in exchange.onLoop { exchange.respond(result, address.key, .put) } }
        }
    }
}
