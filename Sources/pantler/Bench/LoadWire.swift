/// What a load asks for.
enum LoadOperation: Hashable, Sendable {
    case get
    case set
    case mget(batch: Int)

    var name: String {
        switch self {
        case .get: "get"
        case .set: "set"
        case .mget: "mget"
        }
    }

    /// Keys of one request.
    var batch: Int { if case .mget(let batch) = self { batch } else { 1 } }
}

/// Writes a load's requests as bytes: for keys drawn at random, with values of one size.
struct LoadWire: Sendable {
    let keys: UInt32
    let size: Int
    private let single: ReplayWire
    private let batchHead: [UInt8]

    init(address: ServiceAddress, namespace: String, token: String?, keys: UInt32, size: Int) {
        self.keys = keys
        self.size = size
        single = ReplayWire(address: address, namespace: namespace, token: token)
        let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        let path = "\(address.path)/v1/namespaces/\(namespace.percentEncoded)/batch/get"
        batchHead = Array(
            """
            POST \(path) HTTP/1.1\r\nHost: \(address.authority)\r\n\(authorization)\
            Content-Type: application/json\r\nContent-Length:\u{20}
            """.utf8
        )
    }

    var address: ServiceAddress { single.address }

    func append(_ operation: LoadOperation, _ random: inout Xorshift, to bytes: inout [UInt8]) {
        switch operation {
        case .get: single.appendGet(key: drawKey(&random), to: &bytes)
        case .set: single.appendPut(key: drawKey(&random), size: size, ttl: 0, to: &bytes)
        case .mget(let batch):
            bytes += batchHead
            var body = Array(#"{"keys":["#.utf8)
            for index in 0..<batch {
                body += (index == 0 ? #""k"# : #","k"#).utf8
                BenchBytes.append(drawKey(&random), to: &body)
                body.append(UInt8(ascii: "\""))
            }
            body += "]}".utf8
            BenchBytes.append(UInt32(body.count), to: &bytes)
            bytes += "\r\n\r\n".utf8
            bytes += body
        }
    }

    /// The body of a batch/set of these keys.
    func fill(_ range: Range<UInt32>) -> [UInt8] {
        var body = Array(#"{"entries":["#.utf8)
        for key in range {
            body += (key == range.lowerBound ? #"{"key":"k"# : #",{"key":"k"#).utf8
            BenchBytes.append(key, to: &body)
            body += #"","value":"#.utf8
            BenchBytes.append(valueOf: size, key: key, to: &body)
            body.append(UInt8(ascii: "}"))
        }
        body += "]}".utf8
        return body
    }

    private func drawKey(_ random: inout Xorshift) -> UInt32 {
        // A shift binds closer than a product.
        UInt32(truncatingIfNeeded: ((random.next() >> 32) * UInt64(keys)) >> 32)
    }
}
