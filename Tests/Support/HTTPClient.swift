/// A small HTTP client over one connection, made anew where the server ended it. Blocks; of one thread.
package final class HTTPClient {
    package let port: UInt16
    private let seconds: Double
    private var connection: RawConnection?

    package init(port: UInt16, within seconds: Double = 30) {
        self.port = port
        self.seconds = seconds
    }

    /// The bytes of a request; a body brings its Content-Length. A header that is named here replaces the usual one.
    package func head(_ method: String, _ target: String, _ headers: [String: String], bodyCount: Int?) -> String {
        var head = "\(method) \(target) HTTP/1.1\r\n"
        if headers["Host"] == nil { head += "Host: 127.0.0.1:\(port)\r\n" }
        if let bodyCount { head += "Content-Length: \(bodyCount)\r\n" }
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) { head += "\(name): \(value)\r\n" }
        return head + "\r\n"
    }

    package func request(
        _ method: String,
        _ target: String,
        _ headers: [String: String] = [:],
        body: ArraySlice<UInt8>? = nil
    ) throws -> Response {
        let connection = try connection ?? RawConnection(port: port, within: seconds)
        self.connection = nil
        let head = head(method, target, headers, bodyCount: body?.count)
        // Small bodies go out with the head: one segment, one wake-up of the server.
        if let body, body.count < 16_384 {
            try connection.send(Array(head.utf8) + body)
        } else {
            try connection.send(head)
            if let body { try connection.send(body) }
        }
        let response = try connection.receive(toHead: method == "HEAD")
        if !response.closes { self.connection = connection }
        return response
    }

    package func get(_ target: String, _ headers: [String: String] = [:]) throws -> Response {
        try request("GET", target, headers)
    }

    package func head(_ target: String, _ headers: [String: String] = [:]) throws -> Response {
        try request("HEAD", target, headers)
    }

    package func delete(_ target: String, _ headers: [String: String] = [:]) throws -> Response {
        try request("DELETE", target, headers)
    }

    /// DELETE of a namespace, with all that it takes.
    package func drop(_ path: String) throws -> Response {
        try delete("\(path)?confirm=\(path.split(separator: "/").last ?? "")")
    }

    /// PUT of a JSON text.
    package func put(_ target: String, _ json: String, _ headers: [String: String] = [:]) throws -> Response {
        try send("PUT", target, json, "application/json", headers)
    }

    /// POST of a JSON text.
    package func post(_ target: String, _ json: String, _ headers: [String: String] = [:]) throws -> Response {
        try send("POST", target, json, "application/json", headers)
    }

    /// PATCH by a merge patch.
    package func patch(_ target: String, _ json: String, _ headers: [String: String] = [:]) throws -> Response {
        try send("PATCH", target, json, "application/merge-patch+json", headers)
    }

    /// PUT of plain bytes.
    package func put(
        _ target: String,
        bytes: some Sequence<UInt8>,
        type: String? = nil,
        _ headers: [String: String] = [:]
    ) throws -> Response {
        var headers = headers
        headers["Content-Type"] = type
        return try request("PUT", target, headers, body: bytes as? ArraySlice<UInt8> ?? Array(bytes)[...])
    }

    private func send(
        _ method: String,
        _ target: String,
        _ json: String,
        _ type: String,
        _ headers: [String: String]
    ) throws -> Response {
        let headers = ["Content-Type": type].merging(headers) { $1 }
        return try request(method, target, headers, body: Array(json.utf8)[...])
    }
}
