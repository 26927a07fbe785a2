internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

extension Router {
    /// Where the server listens, and what it asks there.
    ///
    /// - Parameter opensMetrics: whether the metrics are open to all.
    func listeners(opensMetrics: Bool) -> Response {
        var body = JSONWriter(capacity: 512)
        body.beginObject()
        body.member("listeners")
        body.beginArray()
        for facts in listenerFacts { body.listener(facts) }
        body.endArray()
        body.member("open_metrics")
        body.bool(opensMetrics)
        body.member("tokens")
        body.integer(store.tokens.count)
        body.endObject()
        return Response(200, body, headers: Response.notStored, operation: .stats)
    }
}

extension JSONWriter {
    fileprivate mutating func listener(_ facts: ListenerFacts) {
        beginObject()
        switch facts.place {
        case .port(let host, let port):
            member("address")
            string(host)
            member("port")
            integer(port)
        case .socket(let path, _, _):
            member("socket")
            string(path)
        }
        for (name, value) in [
            ("tls", facts.tls), ("tokens", facts.tokens), ("plaintext", facts.plaintext),
            ("client_certificates", facts.clientCertificates),
        ] {
            member(name)
            bool(value)
        }
        if let expiry = facts.certificateExpiresAt {
            member("certificate_expires_at")
            moment(WallTime(milliseconds: expiry))
        }
        endObject()
    }
}
