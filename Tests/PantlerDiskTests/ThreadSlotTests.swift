import Glibc
import Support
import Testing

@testable import PantlerDisk

@Suite("Room for one thread")
struct ThreadSlotTests {
    @Test("a thread has ended once the place is closed or the next has begun, and none begins afterwards")
    func closing() throws {
        let place = ThreadSlot()
        let steps = Shared<[String]>([])
        #expect(try place.begin(name: "first") { steps.update { $0.append("first") } })
        #expect(
            try place.begin(name: "second") {
                while !place.isClosed { sched_yield() }
                steps.update { $0.append("second") }
            }
        )
        #expect(steps.value == ["first"])
        place.close()
        #expect(steps.value == ["first", "second"])
        #expect(try !place.begin(name: "third") { steps.update { $0.append("third") } })
        place.close()
        #expect(steps.value == ["first", "second"])
    }
}
