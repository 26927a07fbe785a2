import struct Support.SeededGenerator

extension SeededGenerator {
    /// A new seed for every run, printed; PANTLER_TEST_SEED in the environment repeats one.
    static func announced(_ test: String) -> SeededGenerator {
        let generator = SeededGenerator()
        print("\(test): \(generator)")
        return generator
    }

    /// One of `choices`, which is not empty.
    mutating func pick<Element>(_ choices: [Element]) -> Element {
        choices[Int.random(in: 0..<choices.count, using: &self)]
    }
}
