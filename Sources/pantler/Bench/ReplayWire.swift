/// Writes a replay's requests as bytes. What is the same in all of them is made once.
struct ReplayWire: Sendable {
    let address: ServiceAddress
    private let getStart: [UInt8]
    private let getEnd: [UInt8]
    private let putStart: [UInt8]
    private let putEnd: [UInt8]

    /// Letters that values are cut from: random, so that they deflate no better than they would in life.
    private static let letters: [UInt8] = {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -".utf8)
        // Marsaglia's xorshift: the same values in every run.
        var state: UInt64 = 0x2545_f491_4f6c_dd1d
        return (0..<1 << 16).map { _ in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return alphabet[Int(state >> 58)]
        }
    }()

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

    func appendGet(_ request: Trace.Request, to bytes: inout [UInt8]) {
        bytes += getStart
        Self.append(request.key, to: &bytes)
        bytes += getEnd
    }

    /// Puts a JSON string of `size` bytes with its quotes; sizes below 2 are a figure of one byte.
    func appendPut(_ request: Trace.Request, to bytes: inout [UInt8]) {
        bytes += putStart
        Self.append(request.key, to: &bytes)
        bytes += putEnd
        let ttlBytes = request.ttl > 0 ? 7 + Self.digits(request.ttl) : 0
        Self.append(UInt32(10 + max(1, Int(request.size)) + ttlBytes), to: &bytes)
        bytes += "\r\n\r\n".utf8
        bytes += #"{"value":"#.utf8
        if request.size < 2 {
            bytes.append(UInt8(ascii: "1"))
        } else {
            bytes.append(UInt8(ascii: "\""))
            var left = Int(request.size) - 2
            var offset = Int(request.key &* 2_654_435_761) % Self.letters.count
            while left > 0 {
                let count = min(left, Self.letters.count - offset)
                bytes += Self.letters[offset..<offset + count]
                left -= count
                offset = 0
            }
            bytes.append(UInt8(ascii: "\""))
        }
        if request.ttl > 0 {
            bytes += #","ttl":"#.utf8
            Self.append(request.ttl, to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private static func digits(_ number: UInt32) -> Int {
        var count = 1
        var rest = number / 10
        while rest > 0 {
            count += 1
            rest /= 10
        }
        return count
    }

    private static func append(_ number: UInt32, to bytes: inout [UInt8]) {
        let start = bytes.count
        var rest = number
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }
}
