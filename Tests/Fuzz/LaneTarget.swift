/// The fast lane's reader against SwiftNIO's decoder: wherever the lane takes a request, the decoder sees the same one.
enum LaneTarget {
    // One thread, libFuzzer's.
    nonisolated(unsafe) private static let agreement = try? LaneAgreement()

    static func run(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard !bytes.isEmpty, let agreement else { return 0 }
        do {
            _ = try agreement.check(Array(bytes))
        } catch {
            must(false, "the lane took what the decoder sees otherwise: \(error)")
        }
        return 0
    }
}
