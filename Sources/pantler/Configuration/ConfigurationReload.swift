/// What reading the configuration again came to.
struct ConfigurationReload: Hashable, Sendable {
    struct Change: Hashable, Sendable, CustomStringConvertible {
        let key: String
        let old: String
        let new: String

        var description: String { "\(key): \(old) -> \(new)" }
    }

    /// What is in force from now on: the old configuration with the live changes alone.
    let configuration: ServeConfiguration
    /// Changes that are in it.
    let applied: [Change]
    /// Changes that only a restart brings.
    let needsRestart: [Change]
}

extension ConfigurationSource {
    /// Reads everything again, on SIGHUP.
    ///
    /// - Parameter old: what is in force.
    /// - Throws: what `load` throws; `old` then stays in force.
    func reload(_ old: ServeConfiguration) throws(ConfigurationError) -> ConfigurationReload {
        let new = try load()
        var configuration = old
        var applied: [ConfigurationReload.Change] = []
        var needsRestart: [ConfigurationReload.Change] = []
        for setting in Setting.all {
            let change = ConfigurationReload.Change(
                key: setting.key,
                old: setting.text(in: old),
                new: setting.text(in: new)
            )
            guard change.old != change.new else { continue }
            if setting.isLive {
                setting.copy(from: new, to: &configuration)
                applied.append(change)
            } else {
                needsRestart.append(change)
            }
        }
        return ConfigurationReload(configuration: configuration, applied: applied, needsRestart: needsRestart)
    }
}
