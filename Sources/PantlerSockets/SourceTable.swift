internal import CPantler
import Glibc

/// The sockets of a loop, by a number that the kernel keeps for each: it tells a socket from one that had its place before, for which
/// an event may still be under way.
struct SourceTable {
    private struct Place {
        var source: EventSource?
        /// The memory that its turn will need.
        var ahead: (socket: MemoryAhead, reader: MemoryAhead) = (MemoryAhead(), MemoryAhead())
        var generation: UInt32 = 0
    }

    private var places: [Place] = []
    private var free: [UInt32] = []

    var all: [EventSource] { places.compactMap(\.source) }

    mutating func insert(_ source: EventSource) -> UInt64 {
        let index: UInt32
        if let last = free.popLast() {
            index = last
        } else {
            index = UInt32(places.count)
            places.append(Place())
        }
        places[Int(index)].source = source
        places[Int(index)].ahead = source.ahead
        return UInt64(places[Int(index)].generation) << 32 | UInt64(index)
    }

    /// Lets go of a socket, if it is there.
    mutating func remove(_ source: EventSource) {
        guard self[source.token] === source else { return }
        let index = Int(UInt32(truncatingIfNeeded: source.token))
        places[index].source = nil
        places[index].ahead = (MemoryAhead(), MemoryAhead())
        places[index].generation &+= 1
        free.append(UInt32(index))
    }

    /// `nil` for one that has gone, and for a number that no socket has.
    subscript(token: UInt64) -> EventSource? {
        let index = Int(UInt32(truncatingIfNeeded: token))
        guard index < places.count, places[index].generation == UInt32(token >> 32) else { return nil }
        return places[index].source
    }

    /// Fetches the memory that a socket's turn will need, while others have their turns. With a thousand connections none of it would be in
    /// the processor's caches otherwise.
    func lookAhead(_ token: UInt64) {
        let index = Int(UInt32(truncatingIfNeeded: token))
        guard index < places.count else { return }
        places[index].ahead.socket.fetch()
        places[index].ahead.reader.fetch()
    }
}

/// Where an object lies in memory. The object may be gone: nothing of it is read.
struct MemoryAhead {
    private var address: UInt = 0
    private var lines: UInt = 0

    init() {}

    init(_ object: AnyObject) {
        let object = Unmanaged.passUnretained(object).toOpaque()
        address = UInt(bitPattern: object)
        lines = UInt(malloc_usable_size(object) + 63) / 64
    }

    func fetch() {
        for line in 0..<lines { pantler_prefetch(UnsafeRawPointer(bitPattern: address + line * 64)) }
    }
}
