internal import PantlerDisk
internal import PantlerHTTP
internal import PantlerModel
internal import PantlerStore

// The configuration as each module wants it.

extension ServeConfiguration {
    var storeOptions: StoreOptions {
        var options = StoreOptions()
        options.maxMemory = Int(memory.maxMemory)
        options.shards = memory.shards
        options.maxNamespaces = namespaces.maxNamespaces
        options.autoCreate = namespaces.autoCreate
        options.defaultPolicy = namespaces.defaults
        options.leases = limits.ofLeases
        return options
    }

    var httpOptions: HTTPOptions {
        var options = HTTPOptions()
        options.listeners = listeners
        options.tls = tlsOptions
        options.opensMetrics = server.openMetrics
        options.allowedHosts = server.allowedHosts
        options.pinsThreads = server.pinThreads
        options.access.log = log.access
        options.access.slow = log.slow
        options.access.audits = log.audit
        options.limits.headSize = Int(limits.headSize)
        options.limits.targetSize = Int(limits.targetSize)
        options.limits.bodySize = Int(limits.bodySize)
        options.limits.answerSize = Int(limits.answerSize)
        options.limits.bytesInFlight = Int(limits.bytesInFlight)
        options.limits.connections = limits.connections
        options.limits.pipelinedRequests = limits.pipelinedRequests
        options.limits.headTimeout = limits.headTimeout
        options.limits.bodyTimeout = limits.bodyTimeout
        options.limits.idleTimeout = limits.idleTimeout
        options.limits.connectionsPerPeer = limits.connectionsPerPeer
        options.limits.requestsPerToken = limits.requestsPerToken
        options.limits.failedTokens = limits.failedTokens
        options.limits.bodyRate = Int(limits.bodyRate)
        options.limits.answerRate = Int(limits.answerRate)
        options.limits.handshakes = limits.handshakes
        options.limits.handshakeTimeout = limits.handshakeTimeout
        return options
    }

    /// `nil` where no listener speaks TLS.
    private var tlsOptions: TLSOptions? {
        guard listeners.contains(where: \.speaksTLS), let certificate = tls.certificate, let key = tls.key else {
            return nil
        }
        var options = TLSOptions(certificate: certificate, key: key)
        options.clientCA = tls.clientCA
        options.clientGrant = Grant(role: tls.clientRole, namespaces: tls.clientNamespaces)
        return options
    }
}

extension ServeConfiguration {
    /// Settings that have no effect because of another one, each as a sentence for the operator.
    var doubts: [String] {
        let bound = limits.bytesInFlight
        let others: [(key: String, what: String, bytes: Int64)] = [
            ("limits.body_size", "body", limits.bodySize), ("limits.answer_size", "batch's answer", limits.answerSize),
        ]
        let sizes = others.filter { $0.bytes > bound }.map { other in
            "\(other.key) is \(Quantity.text(bytes: other.bytes)), but no \(other.what) may be larger than limits.bytes_in_flight, which is \(Quantity.text(bytes: bound)): lower the one or raise the other"
        }
        return sizes + listenerDoubts
    }
}

extension ServeConfiguration.ClientLimits {
    var ofLeases: LeaseLimits {
        var limits = LeaseLimits()
        limits.leases = leases
        limits.waiters = waiters
        return limits
    }
}

extension ServeConfiguration.Disk {
    var options: DiskOptions {
        var options = DiskOptions()
        options.maxBytes = maxDisk
        options.maxFolderBytes = maxDisk
        options.readers = readers
        options.queueEntries = queueEntries
        options.queueBytes = queueSize
        options.lingerMilliseconds = Int(flushInterval.milliseconds)
        options.walBytes = walSize
        options.writerCacheBytes = writerCache
        options.readerCacheBytes = readerCache
        return options
    }
}
