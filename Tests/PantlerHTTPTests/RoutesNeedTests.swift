import Foundation
import PantlerModel
import PantlerStore
import Testing

@testable import PantlerHTTP

/// What openapi/openapi.yaml says that each operation needs.
struct DocumentedOperation: CustomTestStringConvertible {
    let path: String
    let method: PantlerHTTP.Method
    /// `x-pantler-role`; `nil` without it.
    let role: String?
    let isOpen: Bool

    var testDescription: String { "\(method) \(path)" }

    /// The operations of the document, by its lines: a test of the document itself holds these to be YAML.
    static let all: [DocumentedOperation] = {
        let methods: [String: PantlerHTTP.Method] = [
            "get": .get, "head": .head, "put": .put, "post": .post, "patch": .patch, "delete": .delete,
        ]
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../openapi/openapi.yaml")
        guard let text = try? String(contentsOf: file, encoding: .utf8) else { return [] }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let paths = lines.firstIndex(of: "paths:"), let components = lines.firstIndex(of: "components:") else {
            return []
        }
        var operations: [DocumentedOperation] = []
        var path = ""
        var method: PantlerHTTP.Method?
        var role: String?
        var isOpen = false
        func end() {
            if let method {
                operations.append(DocumentedOperation(path: path, method: method, role: role, isOpen: isOpen))
            }
            (method, role, isOpen) = (nil, nil, false)
        }
        for line in lines[paths..<components] {
            if line.hasPrefix("  /") {
                end()
                path = String(line.dropFirst(2).dropLast())
            } else if let named = methods[String(line.dropFirst(4).dropLast())], line.hasPrefix("    "),
                line.last == ":"
            {
                end()
                method = named
            } else if line.hasPrefix("      x-pantler-role: ") {
                role = line.split(separator: " ").last.map { $0.filter { $0 != "'" } }
            } else if line == "      security: []" {
                isOpen = true
            }
        }
        end()
        return operations
    }()

    /// The need in the document's words.
    static func word(_ need: Need) -> String {
        switch need {
        case .nothing: "none"
        case .token: "any"
        case .role(let role): role.rawValue
        case .roleEverywhere(let role): role.rawValue + ":*"
        }
    }

    /// A target of the operation in a namespace.
    func target(_ namespace: String, token: String = "aaaaaaaa") -> String {
        let target = path.replacing("{ns}", with: namespace).replacing("{key}", with: "k").replacing(
            "{id}",
            with: token
        )
        let takesKey = ["/entry", "/value", "/counter", "/lease"].contains { target.hasSuffix($0) }
        // A listing is refused for its limit, after all else: it would be answered by another thread.
        if target.hasSuffix("/entries") { return target + "?limit=0" }
        return takesKey ? target + "?key=k" : target
    }

    func resource(_ namespace: String = "mine") -> Resource? {
        let bytes = Array(target(namespace).utf8.prefix { $0 != UInt8(ascii: "?") })
        return bytes.withUnsafeBytes { Route($0, path: 0..<bytes.count)?.resource }
    }
}

@Suite("What a call needs")
struct NeedTests {
    @Test("stands in the API document as it does in the code", arguments: DocumentedOperation.all)
    func documented(operation: DocumentedOperation) throws {
        let resource = try #require(operation.resource())
        #expect(resource.takes(operation.method))
        #expect(operation.role == DocumentedOperation.word(resource.need(operation.method)))
        #expect(operation.isOpen == (operation.role == "none"))
    }

    @Test("stands in the API document for every resource and method", arguments: Resource.allCases)
    func complete(resource: Resource) {
        let documented = DocumentedOperation.all.filter { $0.resource() == resource }.map(\.method)
        for method in [PantlerHTTP.Method.get, .head, .put, .post, .patch, .delete] {
            #expect(documented.contains(method) == resource.takes(method), "\(method)")
        }
        let isProbe = resource == .livez || resource == .readyz
        #expect(resource.need(.options) == (isProbe ? .nothing : .token))
    }

    @Test("a caller meets what its role and its namespaces cover")
    func meets() throws {
        func caller(_ role: Role, _ patterns: String...) -> Caller {
            .certificate(Grant(role: role, namespaces: patterns.compactMap { NamespacePattern($0) }))
        }
        #expect(Caller.anybody.meets(.roleEverywhere(.admin), in: ""))
        #expect(caller(.read, "a").meets(.token, in: "b"))
        #expect(caller(.write, "a").meets(.role(.read), in: "a"))
        #expect(!caller(.write, "a").meets(.role(.admin), in: "a"))
        #expect(!caller(.admin, "a").meets(.role(.read), in: "b"))
        #expect(!caller(.admin, "a", "b-*").meets(.roleEverywhere(.read), in: ""))
        #expect(caller(.admin, "b", "*").meets(.roleEverywhere(.admin), in: ""))
        #expect(caller(.read, "b-*").sees("b-1") && !caller(.admin, "b-*").sees("b"))
    }
}
