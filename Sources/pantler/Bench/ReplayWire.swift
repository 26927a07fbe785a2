/// Writes a replay's requests as bytes. What is the same in all of them is made once.
struct ReplayWire: Sendable {
    let address: ServiceAddress
    private let getStart: [UInt8]
    private let getEnd: [UInt8]
    private let putStart: [UInt8]
    private let putEnd: [UInt8]

    init(address: ServiceAddress, namespace: String, token: String?) {
        self.address = address
        let entries = "\(address.path)/v1/namespaces/\(namespace.percentEncoded)/entries/k"
        let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        let common = " HTTP/1.1\r\nHost: \(address.authority)\r\n\(authorization)"
        getStart = Array("GET \(entries)".utf8)
        getEnd = Array("\(common)\r\n".utf8)
        putStart = Array("PUT \(entries)".utf8)
        putEnd = Array("\(common)Content-Type: application/json\r\nContent-Length: ".utf8)
    }

    func appendGet(_ request: TracedRequest, to bytes: inout [UInt8]) {
        appendGet(key: request.key, to: &bytes)
    }

    func appendGet(key: UInt32, to bytes: inout [UInt8]) {
        bytes += getStart
        BenchBytes.append(key, to: &bytes)
        bytes += getEnd
    }

    func appendPut(_ request: TracedRequest, to bytes: inout [UInt8]) {
        appendPut(key: request.key, size: Int(request.size), ttl: request.ttl, to: &bytes)
    }

    /// - Parameters:
    ///   - size: of the value, as `BenchBytes` writes one.
    ///   - ttl: in seconds; 0 = as the namespace has it.
    func appendPut(key: UInt32, size: Int, ttl: UInt32, to bytes: inout [UInt8]) {
        bytes += putStart
        BenchBytes.append(key, to: &bytes)
        bytes += putEnd
        let ttlBytes = ttl > 0 ? 7 + BenchBytes.digits(ttl) : 0
        BenchBytes.append(UInt32(10 + max(1, size) + ttlBytes), to: &bytes)
        bytes += "\r\n\r\n".utf8
        bytes += #"{"value":"#.utf8
        BenchBytes.append(valueOf: size, key: key, to: &bytes)
        if ttl > 0 {
            bytes += #","ttl":"#.utf8
            BenchBytes.append(ttl, to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }
}
