internal import PantlerModel

extension Setting {
    /// Every key there is, in the order of `config/pantler.yaml`.
    static let all: [Setting] = [
        Setting("server.host", \.server.host, .host),
        Setting("server.port", \.server.port, .optional(.integer(0...65535))),
        Setting("server.socket", \.server.socket, .optional(.path)),
        Setting("server.socket_mode", \.server.socketMode, .mode),
        Setting("server.socket_group", \.server.socketGroup, .optional(.word)),
        Setting("server.tls", \.server.tls, .bool),
        Setting("server.tokens", \.server.tokens, .optional(.bool)),
        Setting("server.plaintext", \.server.plaintext, .bool),
        Setting("server.listen", \.server.listen, .listeners),
        Setting("server.threads", \.server.threads, .integer(0...1024)),
        Setting("server.pin_threads", \.server.pinThreads, .bool),
        Setting("server.allowed_hosts", \.server.allowedHosts, .names, live: true),
        Setting("server.shutdown_timeout", \.server.shutdownTimeout, .duration(0...hour)),
        Setting("server.shutdown_delay", \.server.shutdownDelay, .duration(0...hour)),
        Setting("server.open_metrics", \.server.openMetrics, .bool, live: true),

        Setting("data_dir", \.dataDirectory, .path),

        Setting("memory.max_memory", \.memory.maxMemory, .size(1 << 20...(.max)), live: true),
        Setting("memory.shards", \.memory.shards, .integer(1...1024)),

        Setting("disk.max_disk", \.disk.maxDisk, .size(1 << 20...(.max)), live: true),
        Setting("disk.readers", \.disk.readers, .integer(1...64)),
        Setting("disk.queue_entries", \.disk.queueEntries, .integer(1...10_000_000)),
        Setting("disk.queue_size", \.disk.queueSize, .size(64 << 10...(.max))),
        Setting("disk.flush_interval", \.disk.flushInterval, .duration(0...50)),
        Setting("disk.wal_size", \.disk.walSize, .size(1 << 20...16 << 30)),
        Setting("disk.writer_cache", \.disk.writerCache, .size(64 << 10...16 << 30)),
        Setting("disk.reader_cache", \.disk.readerCache, .size(64 << 10...16 << 30)),

        Setting("namespaces.auto_create", \.namespaces.autoCreate, .bool, live: true),
        Setting("namespaces.max_namespaces", \.namespaces.maxNamespaces, .integer(1...Limits.namespaces)),
        Setting(
            "namespaces.defaults.default_ttl",
            \.namespaces.defaults.defaultTTL,
            .optional(.milliseconds(1...Limits.ttlMilliseconds)),
            live: true
        ),
        Setting(
            "namespaces.defaults.max_ttl",
            \.namespaces.defaults.maxTTL,
            .optional(.milliseconds(1...Limits.ttlMilliseconds)),
            live: true
        ),
        Setting(
            "namespaces.defaults.stale_ttl",
            \.namespaces.defaults.staleTTL,
            .milliseconds(0...Limits.ttlMilliseconds),
            live: true
        ),
        Setting(
            "namespaces.defaults.negative_ttl",
            \.namespaces.defaults.negativeTTL,
            .milliseconds(1...Limits.ttlMilliseconds),
            live: true
        ),
        Setting("namespaces.defaults.ttl_jitter", \.namespaces.defaults.ttlJitter, .number(0...1), live: true),
        Setting("namespaces.defaults.early_refresh", \.namespaces.defaults.earlyRefresh, .number(0...10), live: true),
        Setting(
            "namespaces.defaults.max_memory",
            \.namespaces.defaults.maxMemory,
            .optional(.size(policySizes)),
            live: true
        ),
        Setting(
            "namespaces.defaults.max_entries",
            \.namespaces.defaults.maxEntries,
            .optional(.integer(policySizes)),
            live: true
        ),
        Setting(
            "namespaces.defaults.max_disk",
            \.namespaces.defaults.maxDisk,
            .optional(.size(policySizes)),
            live: true
        ),
        Setting(
            "namespaces.defaults.max_value_size",
            \.namespaces.defaults.maxValueSize,
            .size(1...Limits.valueBytes),
            live: true
        ),
        Setting("namespaces.defaults.eviction", \.namespaces.defaults.eviction, .choice, live: true),
        Setting("namespaces.defaults.durability", \.namespaces.defaults.durability, .choice, live: true),
        Setting(
            "namespaces.defaults.compression.threshold",
            \.namespaces.defaults.compressionThreshold,
            .size(0...Limits.maxSafeInteger),
            live: true
        ),
        Setting(
            "namespaces.defaults.compression.level",
            \.namespaces.defaults.compressionLevel,
            .integer(0...9),
            live: true
        ),

        Setting("tls.certificate", \.tls.certificate, .optional(.path), live: true),
        Setting("tls.key", \.tls.key, .optional(.path), live: true),
        Setting("tls.client_ca", \.tls.clientCA, .optional(.path), live: true),
        Setting("tls.client_role", \.tls.clientRole, .choice, live: true),
        Setting("tls.client_namespaces", \.tls.clientNamespaces, .patterns, live: true),

        Setting("tokens.file", \.tokens.file, .optional(.path), live: true),

        Setting("limits.head_size", \.limits.headSize, .size(1 << 10...1 << 20), live: true),
        Setting("limits.target_size", \.limits.targetSize, .size(1 << 10...1 << 20), live: true),
        Setting("limits.body_size", \.limits.bodySize, .size(1 << 10...Limits.bodyBytes), live: true),
        Setting("limits.answer_size", \.limits.answerSize, .size(64 << 10...Limits.bodyBytes), live: true),
        Setting("limits.bytes_in_flight", \.limits.bytesInFlight, .size(1 << 20...1 << 40), live: true),
        Setting("limits.connections", \.limits.connections, .integer(1...1_000_000), live: true),
        Setting("limits.pipelined_requests", \.limits.pipelinedRequests, .integer(1...100_000), live: true),
        Setting("limits.leases", \.limits.leases, .integer(1...10_000_000), live: true),
        Setting("limits.waiters", \.limits.waiters, .integer(0...10_000_000), live: true),
        Setting("limits.head_timeout", \.limits.headTimeout, .duration(1...hour), live: true),
        Setting("limits.body_timeout", \.limits.bodyTimeout, .duration(1...hour), live: true),
        Setting("limits.idle_timeout", \.limits.idleTimeout, .duration(1...24 * hour), live: true),
        Setting("limits.connections_per_peer", \.limits.connectionsPerPeer, .integer(0...1_000_000), live: true),
        Setting("limits.requests_per_token", \.limits.requestsPerToken, .integer(0...10_000_000), live: true),
        Setting("limits.failed_tokens", \.limits.failedTokens, .integer(0...1_000_000), live: true),
        Setting("limits.body_rate", \.limits.bodyRate, .size(0...1 << 30), live: true),
        Setting("limits.answer_rate", \.limits.answerRate, .size(0...1 << 30), live: true),
        Setting("limits.handshakes", \.limits.handshakes, .integer(1...100_000), live: true),
        Setting("limits.handshake_timeout", \.limits.handshakeTimeout, .duration(1...hour), live: true),

        Setting("log.level", \.log.level, .choice, live: true),
        Setting("log.format", \.log.format, .choice),
        Setting("log.access", \.log.access, .choice, live: true),
        Setting("log.slow", \.log.slow, .duration(0...hour), live: true),
        Setting("log.audit", \.log.audit, .bool, live: true),
    ]

    /// The setting of that key.
    static func named(_ key: String) -> Setting? {
        all.first { $0.key == key }
    }

    private static let hour: Int64 = 3_600_000
    /// What a policy's sizes and counts may be, on the wire too.
    private static let policySizes: ClosedRange<Int64> = 1...Limits.maxSafeInteger
}
