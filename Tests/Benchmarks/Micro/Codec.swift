internal import PantlerCodec
internal import PantlerModel

extension BenchmarkGroup {
    /// Deflating and inflating as the disk tier does, at the default level.
    static func codec() throws -> BenchmarkGroup {
        let level = Policy().compressionLevel
        let stock = try CodecStock()
        let benchmarks = try [(members: 16, times: 1000), (members: 256, times: 60)].flatMap { members, times in
            let document = Samples.document(members: members)
            guard let deflated = try stock.deflater.deflate(document, level: level) else {
                throw Failure("a document of \(document.count) bytes does not deflate")
            }
            guard try stock.inflater.inflate(deflated, size: document.count) == document else {
                throw Failure("a document does not come back from the inflater")
            }
            return [
                Benchmark("codec: deflate \(document.count) to \(deflated.count) bytes", operations: times) {
                    var sum = 0
                    for _ in 0..<times { sum &+= try stock.deflater.deflate(document, level: level)?.count ?? 0 }
                    return sum
                },
                Benchmark("codec: inflate \(deflated.count) to \(document.count) bytes", operations: times) {
                    var sum = 0
                    for _ in 0..<times { sum &+= try stock.inflater.inflate(deflated, size: document.count).count }
                    return sum
                },
            ]
        }
        return BenchmarkGroup(benchmarks)
    }
}

/// Carries what cannot be copied into closures. Of one thread.
private final class CodecStock {
    var deflater: Deflater
    var inflater: Inflater

    init() throws {
        deflater = try Deflater()
        inflater = try Inflater()
    }
}
