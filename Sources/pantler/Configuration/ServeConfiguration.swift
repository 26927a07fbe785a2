internal import Logging
internal import PantlerDisk
internal import PantlerHTTP
internal import PantlerModel
internal import PantlerStore

/// Everything that `pantler serve` can be told, with its defaults. Parsed once, at the edge (`ConfigurationSource`): nothing
/// deeper down reads the environment or a file.
///
/// `config/pantler.yaml` explains each key; `Setting.all` names each one, says what is allowed, and ties it to a field here. A default that
/// a module has for itself is taken from there.
struct ServeConfiguration: Hashable, Sendable {
    var server = Server()
    /// Where the disk tier lives; made if it is not there.
    var dataDirectory = "./pantler-data"
    var memory = Memory()
    var disk = Disk()
    var namespaces = Namespaces()
    var tls = TLS()
    var tokens = Tokens()
    var limits = ClientLimits()
    var log = Log()

    /// Where and how it listens.
    struct Server: Hashable, Sendable {
        /// An address of this machine, a name that it has, or `*`.
        var host = Self.defaultHost
        /// 0 = any free port; `nil` = none.
        var port: Int? = Self.defaultPort
        /// The path of a Unix socket beside it, or instead of it; `nil` = none.
        var socket: String?
        /// The socket's mode.
        var socketMode: UInt16 = ListenItem.defaultMode
        /// The socket's group, by its name or number; `nil` = the service's own.
        var socketGroup: String?
        /// Whether the port speaks TLS.
        var tls = false
        /// Whether calls need a token; `nil` = where others than this machine can make them.
        var tokens: Bool?
        /// Whether others may reach the port although what goes over it can be read on the way.
        var plaintext = false
        /// Where it listens instead of all that, if not empty.
        var listen: [ListenItem] = []
        /// Event loops; 0 = one for every two cores, at least one.
        var threads = 0
        /// Whether each loop keeps to a core of its own, where there are as many of them.
        var pinThreads = HTTPOptions().pinsThreads
        /// Names that a Host header may carry; empty = the address served, and localhost; `*` = any.
        var allowedHosts = HTTPOptions().allowedHosts
        /// How long a stop waits for running requests.
        var shutdownTimeout: Duration = .seconds(10)
        /// How long before that it says that it is not ready, and goes on serving.
        var shutdownDelay: Duration = .zero
        /// Whether the metrics are open to those who have no token.
        var openMetrics = HTTPOptions().opensMetrics

        static let defaultHost = "127.0.0.1"
        static let defaultPort = 8080
    }

    struct Memory: Hashable, Sendable {
        /// Bytes of the whole memory tier.
        var maxMemory = Int64(StoreOptions().maxMemory)
        /// Parts with a lock of their own.
        var shards = StoreOptions().shards
    }

    struct Disk: Hashable, Sendable {
        /// Bytes of the whole disk tier.
        var maxDisk = DiskOptions().maxBytes
        /// Connections that read.
        var readers = DiskOptions().readers
        /// Changes that may wait for the writer.
        var queueEntries = DiskOptions().queueEntries
        /// Bytes of changes that may wait for the writer.
        var queueSize = DiskOptions().queueBytes
        /// How long a change may wait for others to be committed with.
        var flushInterval = Duration.milliseconds(DiskOptions().lingerMilliseconds)
        /// Bytes of write-ahead log from which on it is copied into the file.
        var walSize = DiskOptions().walBytes
        /// Bytes of pages that the writer's connection keeps.
        var writerCache = DiskOptions().writerCacheBytes
        /// Bytes of pages that each reader's connection keeps.
        var readerCache = DiskOptions().readerCacheBytes
    }

    struct Namespaces: Hashable, Sendable {
        /// Whether a first write makes its namespace.
        var autoCreate = StoreOptions().autoCreate
        var maxNamespaces = StoreOptions().maxNamespaces
        /// The policy of a namespace that does not say otherwise.
        var defaults = StoreOptions().defaultPolicy
    }

    /// What the listeners that speak TLS speak it with.
    struct TLS: Hashable, Sendable {
        /// Paths of PEM files.
        var certificate: String?
        var key: String?
        /// Those who sign clients' certificates; `nil` = clients are asked for none.
        var clientCA: String?
        /// What a client with such a certificate may do, and where.
        var clientRole = Role.read
        var clientNamespaces = [NamespacePattern.everything]
    }

    struct Tokens: Hashable, Sendable {
        /// The path of a list of tokens that are kept outside the database; `nil` = none.
        var file: String?
    }

    /// What a client may ask of a connection.
    struct ClientLimits: Hashable, Sendable {
        /// Bytes of a request's line and headers.
        var headSize = Int64(HTTPLimits().headSize)
        /// Bytes of a request's target alone.
        var targetSize = Int64(HTTPLimits().targetSize)
        /// Bytes of a request's body.
        var bodySize = Int64(HTTPLimits().bodySize)
        /// Bytes of the answer to a batch of gets.
        var answerSize = Int64(HTTPLimits().answerSize)
        /// Bytes of bodies being received and of large answers not taken yet, of all connections together.
        var bytesInFlight = Int64(HTTPLimits().bytesInFlight)
        /// Open connections.
        var connections = HTTPLimits().connections
        /// Requests of one connection that wait for their answers.
        var pipelinedRequests = HTTPLimits().pipelinedRequests
        /// Leases that are held, and failed loads that are remembered, of all namespaces together.
        var leases = LeaseLimits().leases
        /// Callers that wait until somebody else has filled a key.
        var waiters = LeaseLimits().waiters
        /// From a request's first byte to the end of its head.
        var headTimeout = HTTPLimits().headTimeout
        /// Without a byte of a body that is to come.
        var bodyTimeout = HTTPLimits().bodyTimeout
        /// Without a request.
        var idleTimeout = HTTPLimits().idleTimeout
        /// Open connections of one peer; 0 = no bound.
        var connectionsPerPeer = HTTPLimits().connectionsPerPeer
        /// Requests a second with one token; 0 = no bound.
        var requestsPerToken = HTTPLimits().requestsPerToken
        /// Wrong tokens a minute and peer that are answered at once; 0 = all.
        var failedTokens = HTTPLimits().failedTokens
        /// Bytes a second of a body that comes slowly; 0 = any.
        var bodyRate = Int64(HTTPLimits().bodyRate)
        /// Bytes a second of answers that are taken slowly; 0 = any.
        var answerRate = Int64(HTTPLimits().answerRate)
        /// TLS handshakes under way.
        var handshakes = HTTPLimits().handshakes
        /// From a connection's begin to the end of its TLS handshake.
        var handshakeTimeout = HTTPLimits().handshakeTimeout
    }

    struct Log: Hashable, Sendable {
        var level: Logger.Level = .info
        var format: LogFormat = .text
        /// Which requests are logged, whatever the level.
        var access = AccessOptions().log
        /// From a request's first byte to its answer: what takes longer is slow.
        var slow = AccessOptions().slow
        /// Whether refusals and changes of who may do what have a line each.
        var audit = AccessOptions().audits
    }
}

/// How log lines are written.
enum LogFormat: String, Hashable, Sendable, CaseIterable {
    /// For people.
    case text
    /// One JSON object a line.
    case json
}
