internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// The probes, and the API's own document.

extension Router {
    func service(_ call: Call) -> Response {
        switch call.resource {
        case .readyz: readiness()
        case .document:
            Response(
                status: 200,
                contentType: "application/yaml",
                body: ByteBuffer(bytes: options.document),
                operation: .document
            )
        default: probe(200, "ok")
        }
    }

    /// 503 while the server drains, and while its lower tier has a fault: memory goes on serving even then.
    private func readiness() -> Response {
        if isDraining { return probe(503, "draining") }
        return probe(store.readiness())
    }

    private func probe(_ fault: TierFault?) -> Response {
        guard let fault else { return probe(200, "ok") }
        return probe(503, "degraded", fault)
    }

    private func probe(_ status: Int, _ word: String, _ fault: TierFault? = nil) -> Response {
        var body = JSONWriter(capacity: 64)
        body.beginObject()
        body.member("status")
        body.string(word)
        if let fault {
            body.member("disk")
            body.beginObject()
            body.member("fault")
            body.string(fault.sentence)
            body.endObject()
        }
        body.endObject()
        return Response(status, body, headers: Response.notStored, operation: .probe)
    }
}
