import PantlerModel

/// Calls the fast lane for those who measure it from outside of the module. Used by one thread.
package final class FastLaneProbe {
    private let hosts = ServedHosts([], address: "127.0.0.1")
    private let bounds = FastLane.Bounds(head: 16 << 10, body: 1 << 20, awaitedBody: 0)
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.keyBytes, alignment: 1)

    package init() {}

    deinit { scratch.deallocate() }

    /// Bytes of the request at the front of `bytes`, which are not empty; `nil` if the lane does not take it.
    package func length(of bytes: UnsafeRawBufferPointer) -> Int? {
        switch FastLane.parse(bytes, hosts, bounds, scratch: scratch) {
        case .get(let request), .put(let request, _), .lease(let request, _): request.length
        case .incomplete, .awaitsBody, .other: nil
        }
    }
}
