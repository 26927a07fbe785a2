import Foundation
import Support
import Testing

/// A call that fails, or one from which on all of its kind fail, and when the crash comes.
struct DiskFault: Sendable, CustomStringConvertible {
    enum Call: String, Sendable, CaseIterable { case write, sync }

    /// When the crash comes.
    enum End: Int, Sendable, CaseIterable {
        /// Right after the request in which a call failed first.
        case atOnce
        /// A request later.
        case soon
        /// After the whole script.
        case late
        /// After the whole script and a stop that was asked for.
        case stopped
    }

    var call: Call
    var number: UInt64
    var isForGood: Bool
    var end: End

    var faults: FailingDisk.Faults {
        var faults = FailingDisk.Faults()
        let range = number...(isForGood ? UInt64.max : number)
        switch call {
        case .write: faults.writes = range
        case .sync: faults.syncs = range
        }
        faults.seed = number
        // Of each of these there are enough either way.
        faults.writeError = number % 3 == 0 ? ENOSPC : EIO
        faults.writebackRate = number % 2 == 0 ? 20_000 : 0
        return faults
    }

    var description: String { "\(call) \(number) \(isForGood ? "always" : "once") \(end)" }

    init(_ call: Call, _ number: UInt64, isForGood: Bool, _ end: End) {
        self.call = call
        self.number = number
        self.isForGood = isForGood
        self.end = end
    }

    /// - Parameter description: as `description` has it.
    init?(_ description: String) {
        let words = description.split(separator: " ").map(String.init)
        guard words.count == 4, let call = Call(rawValue: words[0]), let number = UInt64(words[1]),
            let end = End.allCases.first(where: { "\($0)" == words[3] })
        else { return nil }
        self.init(call, number, isForGood: words[2] == "always", end)
    }
}

/// A data folder as a crash left it after `DiskScript.prepare`, and what is in it.
struct DiskTemplate: Sendable {
    let folder: TemporaryDirectory
    let model: DiskModel

    init() throws {
        let server = try ServerProcess(.init(configuration: DiskScript.configuration))
        var caller = DiskCaller(server.client)
        try DiskScript.prepare(&caller)
        try #require(caller.complaints.isEmpty, "\(caller.complaints)")
        try server.kill9()
        folder = try TemporaryDirectory()
        try copyFiles(of: server.dataFolder, to: folder.path)
        model = caller.model
    }
}

/// One service over a disk with one fault, then a crash, and a look at what either kind of crash left.
struct DiskRun: Sendable {
    private(set) var complaints: [String]
    /// Calls while faults were possible.
    let writes: UInt64
    let syncs: UInt64
    /// Answers that told of the fault.
    let refusals: Int

    /// One run: the script, a crash, and a look at what either kind of crash left.
    static func script(_ fault: DiskFault?, _ template: DiskTemplate) throws -> DiskRun {
        let disk = try FailingDisk(from: template.folder.path)
        let server = try ServerProcess(
            .init(configuration: DiskScript.configuration, data: disk.folder, environment: disk.environment)
        )
        var caller = DiskCaller(server.client, template.model)
        if fault?.isForGood == true { caller.patience = 0 }
        try caller.begin(after: .kill)
        // In memory from here on.
        try caller.put("m", "hot", .init(value: "1"))
        disk.arm(fault?.faults ?? FailingDisk.Faults())
        var stepsLeft = Int.max
        do {
            for step in DiskScript.steps where stepsLeft > 0 {
                stepsLeft -= 1
                try step(&caller)
                guard disk.failures > 0 else { continue }
                try caller.look("m", "hot")
                switch fault?.end {
                case .atOnce: stepsLeft = 0
                case .soon: stepsLeft = min(stepsLeft, 1)
                case .late, .stopped, nil: break
                }
            }
            if stepsLeft > 0 { try caller.lookAtAll() }
        } catch {
            caller.complain("\(error); \(server.isRunning ? "it runs" : "it ended")\n\(server.log.suffix(3000))")
        }
        if !server.isRunning { caller.complain("the service ended\n\(server.log.suffix(3000))") }
        if fault?.end == .stopped, server.isRunning {
            _ = try server.terminate()
        } else {
            try server.kill9()
        }
        var run = DiskRun(disk, caller)
        run.lookAtRemains(of: disk, caller)
        return run
    }

    private init(_ disk: FailingDisk, _ caller: DiskCaller) {
        (writes, syncs) = (disk.writes, disk.syncs)
        refusals = caller.refusals
        complaints = caller.complaints
    }

    /// A start over a disk of which calls fail from the first on, and a crash.
    static func start(_ fault: DiskFault?, _ template: DiskTemplate) throws -> DiskRun {
        let disk = try FailingDisk(from: template.folder.path)
        disk.arm(fault?.faults ?? FailingDisk.Faults())
        var caller = DiskCaller(HTTPClient(port: 0), template.model)
        do {
            let server = try ServerProcess(
                .init(configuration: DiskScript.configuration, data: disk.folder, environment: disk.environment)
            )
            caller = DiskCaller(server.client, template.model)
            if fault == nil { try caller.begin(after: .kill) }
            // It serves, whatever the disk does.
            let answer = try server.client.put("/v1/namespaces/m/entries/hot", #"{"value":1}"#)
            if answer.status >= 300, answer.status != 503, answer.status != 507 {
                caller.complain("PUT m/hot -> \(answer)")
            }
            if try server.client.get("/livez").status != 200 { caller.complain("it does not live") }
            try server.kill9()
        } catch let failure as Failure where failure.description.contains("at its start: exited(1)") {
            // It says why, and changes nothing.
            if fault == nil || !failure.description.contains(disk.folder) { caller.complain("\(failure)") }
        }
        var run = DiskRun(disk, caller)
        run.lookAtRemains(of: disk, caller)
        return run
    }

    private mutating func lookAtRemains(of disk: FailingDisk, _ caller: DiskCaller) {
        for crash in FailingDisk.Crash.allCases {
            var after = DiskCaller(caller.http, caller.model, history: caller.history)
            do {
                try Self.look(&after, crash, disk)
            } catch {
                after.complain("\(error)")
            }
            complaints += after.complaints.map { "after a \(crash.rawValue): \($0)" }
        }
    }

    /// Starts on what a crash left, with a disk that is well, and looks at everything.
    private static func look(_ caller: inout DiskCaller, _ crash: FailingDisk.Crash, _ disk: FailingDisk) throws {
        let remains = try disk.remains(of: crash)
        defer { remains.remove() }
        let integrity = try Database.integrity(of: remains.path)
        if integrity != "ok" { caller.complain("the file is damaged: \(integrity)") }
        let server = try ServerProcess(.init(configuration: DiskScript.configuration, data: remains.path))
        caller = DiskCaller(server.client, caller.model, history: caller.history)
        try caller.begin(after: crash)
        let ready = try server.client.get("/readyz")
        if ready.status != 200 { caller.complain("not ready: \(ready)") }
        // Its version is above all that were answered or found.
        try caller.setPolicy("later", .through, defaultTTL: 1)
        try caller.put("later", "k", .init(value: "1"))
        if try server.metrics().sum("pantler_disk_corruptions_total") != 0 { caller.complain("rows are damaged") }
        try server.kill9()
    }
}
