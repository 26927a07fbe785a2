internal import Foundation

/// Requests in the order they came: a key's number and the size of its value.
package struct Trace: Sendable {
    package struct Request: Hashable, Sendable {
        package var key: Int
        package var size: Int
    }

    package var requests: [Request]

    package init(requests: [Request]) {
        self.requests = requests
    }

    /// Reads `key,size` lines; further columns are passed over.
    package init(csv path: String) throws {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        requests = try text.split(whereSeparator: \.isNewline).map { line in
            let columns = line.split(separator: ",", omittingEmptySubsequences: false)
            guard columns.count >= 2, let key = Int(columns[0]), let size = Int(columns[1]) else {
                throw Failure("\(path): '\(line)' is not key,size")
            }
            return Request(key: key, size: size)
        }
    }

    /// Draws keys by Zipf's law: the k-th most wanted is asked for in proportion to k to the power of minus `exponent`. Keys are
    /// numbered in the order of their first appearance.
    package init(zipf keys: Int, exponent: Double = 0.9, requests count: Int, size: Int = 256, seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var sum = 0.0
        let cumulated = (1...keys).map { rank in
            sum += pow(Double(rank), -exponent)
            return sum
        }
        var numbers: [Int: Int] = [:]
        requests = (0..<count).map { _ in
            let drawn = generator.fraction() * sum
            var low = 0
            var high = keys - 1
            while low < high {
                let middle = (low + high) / 2
                if cumulated[middle] > drawn { high = middle } else { low = middle + 1 }
            }
            let key = numbers[low] ?? numbers.count + 1
            numbers[low] = key
            return Request(key: key, size: size)
        }
    }

    package var distinctKeys: Int { Set(requests.map(\.key)).count }

    package func write(csv path: String) throws {
        let text = requests.map { "\($0.key),\($0.size)\n" }.joined()
        try text.write(toFile: path, atomically: false, encoding: .utf8)
    }

    /// Hits by requests of an exact LRU that holds `capacity` keys.
    package func hitRatio(ofLRU capacity: Int) -> Double {
        var cache = ReferenceLRU(capacity: capacity)
        var hits = 0
        for request in requests where cache.request(request.key) { hits += 1 }
        return Double(hits) / Double(requests.count)
    }
}
