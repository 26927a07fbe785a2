import PantlerModel

/// How many connections each loop has, and which loop gets the next.
///
/// Where each loop keeps to a core (`HTTPOptions.pinsThreads`), a connection goes to the loop on whose core its packets arrive
/// (SO_INCOMING_CPU of socket(7)): what the kernel has of them is in that core's caches, and no other core is needed to wake the loop. Hits
/// over a connection whose packets arrive at another core cost half as much again. A network card with one queue would give all connections
/// to one loop, so that no loop gets much more than its share.
struct LoopBalance: Sendable {
    private let counts: [ConnectionCount]
    /// The number of the loop that keeps to each core.
    private let places: [Int: Int]

    /// - Parameter cores: one for each loop, or none if they do not keep to one.
    init(loops: Int, cores: Cores) {
        counts = (0..<loops).map { _ in ConnectionCount() }
        places = Dictionary(uniqueKeysWithValues: zip(cores.numbers, 0...))
    }

    /// The loop for a connection whose packets arrive at `core`; it is counted there until `close`. Complexity: O(loops).
    func open(at core: Int?) -> Int {
        let counted = counts.map(\.current)
        var fewest = 0
        for loop in counted.indices where counted[loop] < counted[fewest] { fewest = loop }
        var loop = fewest
        if let core, let near = places[core], counted[near] <= Self.share(counted.reduce(0, +), counted.count) {
            loop = near
        }
        _ = counts[loop].open()
        return loop
    }

    func close(at loop: Int) { counts[loop].close() }

    /// The number of connections up to which a loop gets another one because of its core: a quarter more than the average, and 8 more,
    /// because a few connections are seldom spread evenly.
    private static func share(_ connections: Int, _ loops: Int) -> Int { connections * 5 / (loops * 4) + 8 }
}
