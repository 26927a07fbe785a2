internal import Logging
internal import PantlerModel

/// Everything that `pantler serve` can be told, with its defaults. Parsed once, at the edge (`ConfigurationSource`): nothing
/// deeper down reads the environment or a file.
///
/// `config/pantler.yaml` explains each key; `Setting.all` names each one, says what is allowed, and ties it to a field here.
struct ServeConfiguration: Hashable, Sendable {
    var server = Server()
    /// Where the disk tier lives; made if it is not there.
    var dataDirectory = "./pantler-data"
    var memory = Memory()
    var disk = Disk()
    var namespaces = Namespaces()
    var limits = Limits()
    var log = Log()

    /// Where and how it listens.
    struct Server: Hashable, Sendable {
        /// An address of this machine alone.
        var host = "127.0.0.1"
        /// 0 = any free port.
        var port = 8080
        /// Event loops; 0 = one for every two cores, at least one.
        var threads = 0
        /// Names that a Host header may carry; empty = the address served, and localhost; `*` = any.
        var allowedHosts: [String] = []
        /// How long a stop waits for running requests.
        var shutdownTimeout: Duration = .seconds(10)
    }

    struct Memory: Hashable, Sendable {
        /// Bytes of the whole memory tier.
        var maxMemory: Int64 = 256 << 20
        /// Parts with a lock of their own.
        var shards = 16
    }

    struct Disk: Hashable, Sendable {
        /// Bytes of the whole disk tier.
        var maxDisk: Int64 = 10 << 30
        /// Connections that read.
        var readers = 2
        /// Changes that may wait for the writer.
        var queueEntries = 65_536
        /// Bytes of changes that may wait for the writer.
        var queueSize: Int64 = 16 << 20
        /// How long a change may wait for others to be committed with.
        var flushInterval: Duration = .milliseconds(5)
        /// Bytes of write-ahead log from which on it is copied into the file.
        var walSize: Int64 = 16 << 20
        /// Bytes of pages that the writer's connection keeps.
        var writerCache: Int64 = 8 << 20
        /// Bytes of pages that each reader's connection keeps.
        var readerCache: Int64 = 4 << 20
    }

    struct Namespaces: Hashable, Sendable {
        /// Whether a first write makes its namespace.
        var autoCreate = true
        var maxNamespaces = 1000
        /// The policy of a namespace that does not say otherwise.
        var defaults = Policy()
    }

    /// What a client may ask of a connection.
    struct Limits: Hashable, Sendable {
        /// Bytes of a request's line and headers.
        var headSize: Int64 = 16 << 10
        /// Bytes of a request's target alone.
        var targetSize: Int64 = 8 << 10
        /// Bytes of a request's body.
        var bodySize: Int64 = 64 << 20
        /// Bytes of the answer to a batch of gets.
        var answerSize: Int64 = 64 << 20
        /// Bytes of bodies being received and of large answers not taken yet, of all connections together.
        var bytesInFlight: Int64 = 256 << 20
        /// Open connections.
        var connections = 10_000
        /// Requests of one connection that wait for their answers.
        var pipelinedRequests = 1000
        /// From a request's first byte to the end of its head.
        var headTimeout: Duration = .seconds(10)
        /// Without a byte of a body that is to come.
        var bodyTimeout: Duration = .seconds(30)
        /// Without a request.
        var idleTimeout: Duration = .seconds(75)
    }

    struct Log: Hashable, Sendable {
        var level: Logger.Level = .info
        var format: LogFormat = .text
    }
}

/// How log lines are written.
enum LogFormat: String, Hashable, Sendable, CaseIterable {
    /// For people.
    case text
    /// One JSON object a line.
    case json
}
