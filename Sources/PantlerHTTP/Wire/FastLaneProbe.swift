/// The fast lane for those who measure it from outside of the module.
package struct FastLaneProbe: Sendable {
    private let hosts = ServedHosts([], address: "127.0.0.1")
    private let headLimit = 16 << 10

    package init() {}

    /// Bytes of the request at the front of `bytes`, which are not empty; `nil` if the lane does not take it.
    package func length(of bytes: UnsafeRawBufferPointer) -> Int? {
        guard case .request(let request) = FastLane.parse(bytes, hosts, headLimit: headLimit) else { return nil }
        return request.length
    }
}
