internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// The probes, what the service says of itself, and the API's own document.

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
        case .documentInJSON:
            Response(
                status: 200,
                contentType: MediaType.json,
                body: ByteBuffer(bytes: options.documentInJSON()),
                operation: .document
            )
        case .root: introduction()
        default: probe(200, "ok")
        }
    }

    /// The answer to `/`, for callers who do not know yet what is here.
    private func introduction() -> Response {
        var body = JSONWriter(capacity: 512)
        body.beginObject()
        body.member("service")
        body.string("pantler")
        body.member("description")
        body.string("A cache-aside service over HTTP and JSON.")
        body.member("version")
        body.string(options.serverVersion)
        body.member("links")
        body.beginObject()
        for (name, path) in [
            ("namespaces", "/v1/namespaces"), ("stats", "/v1/stats"), ("metrics", "/metrics"), ("livez", "/livez"),
            ("readyz", "/readyz"), ("openapi_yaml", "/openapi.yaml"), ("openapi_json", "/openapi.json"),
        ] {
            body.member(name)
            body.string(path)
        }
        body.endObject()
        body.endObject()
        return Response(200, body, operation: .document)
    }

    /// Whether the service is ready to be called, as `/readyz` tells it.
    var isReady: Bool { !isDraining && !isStopping && store.readiness() == nil }

    /// 503 while the server drains, and while its lower tier has a fault: memory goes on serving even then.
    private func readiness() -> Response {
        if isDraining { return probe(503, "draining") }
        if isStopping { return probe(503, "stopping") }
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
