import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// The statistics of a namespace, and of the whole service, in JSON.

extension Router {
    func namespaceStatistics(_ call: Call) throws(Problem) -> Response {
        guard let namespace = store.namespace(call.namespace) else { throw .namespaceNotFound(call.namespace) }
        var body = JSONWriter(capacity: 1024)
        body.beginObject()
        body.statistics(store.statistics(namespace))
        body.endObject()
        return Response(200, body, headers: Response.notStored, operation: .stats)
    }

    func statistics(_ call: Call) -> Response {
        let statistics = store.statistics()
        let disk = statistics.lower ?? TierHealth()
        var body = JSONWriter(capacity: 2048 + statistics.namespaces.count * 1024)
        body.beginObject()
        body.figures(statistics.total, since: statistics.since)
        body.member("uptime")
        body.seconds(statistics.uptimeMilliseconds)
        body.member("version")
        body.string(options.serverVersion)
        body.object("compression", [("in_bytes", disk.compressionInBytes), ("out_bytes", disk.compressionOutBytes)])
        body.member("write_behind")
        body.beginObject()
        body.count("entries", disk.queueEntries)
        body.count("bytes", disk.queueBytes)
        body.member("age")
        body.seconds(max(0, disk.queueAgeMilliseconds))
        body.endObject()
        body.member("disk")
        body.beginObject()
        body.count("file_bytes", disk.fileBytes)
        body.count("wal_bytes", disk.walBytes)
        body.member("fault")
        if let fault = disk.fault { body.string(fault.sentence) } else { body.null() }
        body.endObject()
        body.object("memory", [("bytes", statistics.memoryBytes), ("limit", statistics.memoryLimit)])
        body.member("namespaces")
        body.beginArray()
        for namespace in statistics.namespaces {
            body.beginObject()
            body.statistics(namespace)
            body.endObject()
        }
        body.endArray()
        body.endObject()
        return Response(200, body, headers: Response.notStored, operation: .stats)
    }
}

extension TierFault {
    /// What callers are told of the fault. The library's own message is for the log: it may name files.
    var sentence: String {
        switch cause {
        case .full: "the disk is full"
        case .unavailable: "the disk cannot be read or written"
        case .corrupt: "what was read from the disk is not what was written"
        case .closed: "the disk tier is closing down"
        }
    }
}

extension JSONWriter {
    /// The members of a namespace's statistics.
    fileprivate mutating func statistics(_ statistics: NamespaceStatistics) {
        member("namespace")
        string(statistics.name.description)
        figures(statistics.figures, since: statistics.since)
    }

    /// The members that are told of a namespace and of the whole alike.
    fileprivate mutating func figures(_ figures: Figures, since: WallTime) {
        let tally = figures.tally
        member("since")
        moment(since)
        count("gets", tally.gets)
        object(
            "hits",
            [
                ("memory", tally.hitsMemory), ("disk", tally.hitsDisk), ("shared", tally.hitsShared),
                ("stale", tally.hitsStale), ("total", tally.hits),
            ]
        )
        object("misses", MissReason.allCases.map { ($0.name, tally.misses($0)) } + [("total", tally.misses)])
        ratio(tally.gets, tally.hits)
        count("absent_hits", tally.hitsAbsent)
        member("windows")
        beginObject()
        window("1m", figures.minute.gets, figures.minute.hits)
        window("5m", figures.fiveMinutes.gets, figures.fiveMinutes.hits)
        window("1h", figures.hour.gets, figures.hour.hits)
        window("start", tally.gets, tally.hits)
        endObject()
        object(
            "writes",
            [
                ("puts", tally.puts), ("deletes", tally.deletes), ("touches", tally.touches),
                ("counters", tally.counters), ("invalidations", tally.invalidations),
            ]
        )
        object("entries", [("memory", figures.memory.entries), ("disk", figures.lower.entries)])
        object("bytes", [("memory", figures.memory.bytes), ("disk", figures.lower.bytes)])
        object("evictions", [("memory", figures.memoryEvictions), ("disk", figures.lowerEvictions)])
        count("expirations", tally.expirations)
        object(
            "leases",
            [
                ("given", tally.leasesGiven), ("filled", tally.leasesFilled), ("refused", tally.leasesRefused),
                ("lost", tally.leasesLost), ("expired", tally.leasesExpired), ("released", tally.leasesReleased),
                ("failed", tally.leasesFailed), ("early", tally.earlyRefreshes), ("running", tally.leasesRunning),
            ]
        )
        member("waits")
        beginObject()
        count("ended", tally.waits)
        member("seconds")
        number(Double(tally.waitMicroseconds) / 1e6)
        endObject()
        loads(figures)
    }

    /// What loads cost, and what was spared because an entry was there.
    private mutating func loads(_ figures: Figures) {
        let tally = figures.tally
        member("loads")
        beginObject()
        count("count", tally.leasesFilled)
        member("mean_seconds")
        if let seconds = tally.meanLoadSeconds { number(seconds) } else { null() }
        count("avoided", tally.hits)
        member("saved_seconds")
        number(figures.savedSeconds)
        endObject()
    }

    private mutating func window(_ name: String, _ gets: UInt64, _ hits: UInt64) {
        member(name)
        beginObject()
        count("gets", gets)
        count("hits", hits)
        count("misses", gets - min(hits, gets))
        ratio(gets, hits)
        endObject()
    }

    /// Hits by gets; null where there were none.
    private mutating func ratio(_ gets: UInt64, _ hits: UInt64) {
        member("hit_ratio")
        if gets > 0 { number(Double(hits) / Double(gets)) } else { null() }
    }

    /// Writes a figure, but never a negative one: two figures that are read one after the other may differ by a little.
    fileprivate mutating func count(_ name: String, _ value: some FixedWidthInteger) {
        member(name)
        integer(max(0, value))
    }

    fileprivate mutating func object(_ name: String, _ counts: [(name: String, value: some FixedWidthInteger)]) {
        member(name)
        beginObject()
        for (name, value) in counts { count(name, value) }
        endObject()
    }
}
