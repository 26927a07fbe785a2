internal import Configuration

/// Where the configuration of a run comes from: flags over environment over file over defaults. Kept, so that it can be read
/// again.
struct ConfigurationSource: Sendable {
    /// A setting given by a flag of `pantler serve`.
    struct FlagValue: Hashable, Sendable {
        /// With its dashes.
        let flag: String
        let key: String
        let text: String
    }

    /// Variables that are not settings but may be there.
    static let otherVariables: Set = [
        "PANTLER_CONFIG", "PANTLER_URL", "PANTLER_CA_FILE", "PANTLER_TOKEN", "PANTLER_TOKEN_FILE", "PANTLER_NAMESPACE",
        "PANTLER_EXECUTABLE",
    ]

    /// `nil` = no file.
    let file: String?
    /// Variables that name settings, or should.
    let environment: [String: String]
    let flags: [FlagValue]
    /// Variables that begin as ours do and are no settings, each as a sentence for the operator: what Kubernetes sets in every container for
    /// a service that is called pantler, and what is empty.
    let passedOver: [String]

    /// - Parameter file: of `--config`; the variable PANTLER_CONFIG names one where the flag does not.
    init(file: String? = nil, environment: [String: String] = [:], flags: [FlagValue] = []) {
        self.file = file ?? environment["PANTLER_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        let own = environment.filter { $0.key.hasPrefix("PANTLER_") }
        let passedOver = own.filter { $0.value.isEmpty || KubernetesVariable.matches($0.key, $0.value) }
        self.environment = own.filter { passedOver[$0.key] == nil }
        self.passedOver = passedOver.sorted { $0.key < $1.key }.map { name, value in
            value.isEmpty
                ? "\(name) in the environment is empty, and passed over"
                : "\(name) in the environment is what Kubernetes says of a service, and passed over"
        }
        self.flags = flags
    }

    /// Reads file, environment and flags.
    ///
    /// - Throws: all faults at once: of values, and where there are none of what they mean together.
    func load() throws(ConfigurationError) -> ServeConfiguration {
        let configuration = try read()
        let refusals = configuration.refusals
        guard refusals.isEmpty else { throw ConfigurationError(faults: refusals) }
        return configuration
    }

    /// The same without what the values mean together. Every value is checked, also one that another overrides.
    ///
    /// - Throws: all faults at once.
    func read() throws(ConfigurationError) -> ServeConfiguration {
        var configuration = ServeConfiguration()
        var faults: [String] = []
        for layer in try layers() {
            faults += layer.faults
            for setting in Setting.all {
                guard let text = layer.text(of: setting) else { continue }
                if !setting.set(text, in: &configuration) {
                    faults.append(ConfigurationError.badValue(text, of: setting, at: layer.place(setting)))
                }
            }
        }
        guard faults.isEmpty else { throw ConfigurationError(faults: faults) }
        return configuration
    }

    /// From the weakest to the strongest.
    private func layers() throws(ConfigurationError) -> [ConfigurationLayer] {
        var layers: [ConfigurationLayer] = []
        if let file { layers.append(ConfigurationLayer(try ConfigurationFile(path: file))) }
        layers.append(ConfigurationLayer(environment: environment))
        layers.append(ConfigurationLayer(flags: flags))
        return layers
    }
}

/// One source's settings.
private struct ConfigurationLayer {
    private let reader: ConfigReader
    /// Faults: what this source says that is no setting.
    let faults: [String]
    /// Where a setting stands in this source, in words.
    let place: (Setting) -> String

    init(_ file: ConfigurationFile) {
        reader = ConfigReader(provider: InMemoryProvider(name: "file", values: Self.values(file.values)))
        faults = file.faults
        place = { file.place(of: $0.key) }
    }

    init(environment: [String: String]) {
        let provider = EnvironmentVariablesProvider(environmentVariables: environment)
        reader = ConfigReader(provider: provider.prefixKeys(with: "pantler"))
        let known = Set(Setting.all.map(\.variable)).union(ConfigurationSource.otherVariables)
        faults = environment.keys.filter { !known.contains($0) }.sorted().map { name in
            "\(name) in the environment: there is no such setting; a setting's variable is its key in capitals, as \(Setting.all[0].variable) is for \(Setting.all[0].key)."
        }
        place = { "\($0.variable) in the environment" }
    }

    init(flags: [ConfigurationSource.FlagValue]) {
        let values = Dictionary(flags.map { ($0.key, [$0.text]) }) { $1 }
        reader = ConfigReader(provider: InMemoryProvider(name: "flags", values: Self.values(values)))
        faults = []
        place = { setting in flags.last { $0.key == setting.key }?.flag ?? setting.key }
    }

    /// The texts of a setting; `nil` where this source does not have it.
    func text(of setting: Setting) -> [String]? {
        let key = ConfigKey(setting.key.split(separator: ".").map(String.init))
        return setting.isList ? reader.stringArray(forKey: key) : reader.string(forKey: key).map { [$0] }
    }

    private static func values(_ texts: [String: [String]]) -> [AbsoluteConfigKey: ConfigValue] {
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        for (name, text) in texts {
            let isList = Setting.named(name)?.isList == true
            let content: ConfigContent = isList ? .stringArray(text) : .string(text.joined())
            values[AbsoluteConfigKey(name.split(separator: ".").map(String.init))] = ConfigValue(
                content,
                isSecret: false
            )
        }
        return values
    }
}

/// The variables that Kubernetes sets in a pod for each service of its namespace: for one called `pantler`, `PANTLER_SERVICE_HOST` and
/// `PANTLER_PORT=tcp://…` among others, and for `pantler-server` even `PANTLER_SERVER_PORT`, which is a setting's name.
///
/// Kubernetes documentation, "Service", environment variables.
private enum KubernetesVariable {
    private static let protocols = ["tcp", "udp", "sctp"]

    static func matches(_ name: String, _ value: String) -> Bool {
        let words = name.split(separator: "_", omittingEmptySubsequences: false).map { $0.lowercased() }
        let isAddress = protocols.contains { value.hasPrefix($0 + "://") }
        // PORT=tcp://…, also of a service whose variable has a setting's name.
        if words.last == "port", isAddress { return true }
        guard Setting.all.allSatisfy({ $0.variable != name }) else { return false }
        for (index, word) in words.enumerated() where word == "service" {
            // SERVICE_HOST, SERVICE_PORT and SERVICE_PORT_NAME.
            let rest = words[(index + 1)...]
            if Array(rest) == ["host"] || rest.first == "port" { return true }
        }
        for (index, word) in words.enumerated() where word == "port" {
            // PORT_8080_TCP, and PORT_8080_TCP_PROTO, _PORT and _ADDR.
            let rest = Array(words[(index + 1)...])
            guard rest.count == 2 || rest.count == 3, Int(rest[0]) != nil, protocols.contains(rest[1]) else { continue }
            if rest.count == 2 || ["proto", "port", "addr"].contains(rest[2]) { return true }
        }
        return false
    }
}
