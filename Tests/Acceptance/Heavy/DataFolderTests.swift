import Glibc
import Support
import Testing

extension Heavy {
    @Suite("Data folders that cannot be served")
    struct DataFolderTests {
        /// Runs `pantler serve` on a folder that it has to refuse, and returns what it said.
        private func refuse(_ dataFolder: String) throws -> String {
            let result = try Command.run(["serve", "--port", "0", "--data-dir", dataFolder])
            #expect(result.status == 1, "\(result)")
            #expect(result.errors.contains(dataFolder), "\(result)")
            #expect(result.errors.contains("--data-dir"), "it says what to do: \(result)")
            return result.errors
        }

        @Test("a second service on the same folder is refused, and the first goes on")
        func second() throws {
            let server = try ServerProcess()
            let ns = try server.client.namespace(#"{"durability":"through"}"#)
            try server.client.store(ns, "a", "1")
            #expect(try refuse(server.dataFolder).contains("is served by another pantler (process "))
            #expect(try server.client.get("\(ns)/values/a").text == "1")
            try server.client.store(ns, "a", "2")
            try server.kill9()
            // The lock went with the process, however that ended.
            let next = try server.restarted()
            #expect(try next.client.get("\(ns)/values/a").text == "2")
            #expect(try next.terminate() == .exited(0))
        }

        @Test(
            "a folder on a read-only file system is refused",
            .enabled(if: TemporaryMount.isPossible, "to mount a small file system takes root"),
            arguments: [false, true]
        )
        func readOnly(hasData: Bool) throws {
            let disk = try TemporaryMount(size: "16m")
            defer { disk.remove() }
            if hasData {
                let server = try ServerProcess(.init(data: disk.dataFolder))
                try server.client.store("/v1/namespaces/a", "a")
                #expect(try server.terminate() == .exited(0))
            }
            try disk.makeReadOnly()
            #expect(try refuse(disk.dataFolder).contains("Read-only file system"))
        }

        @Test("a file in the place of the folder is refused")
        func file() throws {
            let folder = try TemporaryDirectory()
            defer { folder.remove() }
            _ = try refuse(folder.write("no folder", to: "data"))
        }
    }
}
