import PantlerModel
import Synchronization

/// Waits for a number of answers, which may come on any thread. The completion gets the number of those that were `true`, or the first
/// problem.
final class Countdown: Sendable {
    private struct State {
        var open: Int
        var yes = 0
        var problem: Problem?
    }

    private let state: Mutex<State>
    private let completion: @Sendable (Result<Int, Problem>) -> Void

    /// With a count of 0, `completion` is called at once.
    init(_ count: Int, completion: @escaping @Sendable (Result<Int, Problem>) -> Void) {
        state = Mutex(State(open: count))
        self.completion = completion
        if count == 0 { completion(.success(0)) }
    }

    func count(_ answer: Result<Bool, Problem>) {
        let end: Result<Int, Problem>? = state.withLock { state in
            state.open -= 1
            switch answer {
            case .success(let yes): state.yes += yes ? 1 : 0
            case .failure(let problem): state.problem = state.problem ?? problem
            }
            guard state.open == 0 else { return nil }
            return state.problem.map { .failure($0) } ?? .success(state.yes)
        }
        if let end { completion(end) }
    }
}
