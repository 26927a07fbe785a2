/// Why a test's own machinery could not go on: a sentence for the person who reads the test's output.
package struct Failure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
