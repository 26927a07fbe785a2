internal import ArgumentParser

struct CompletionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions",
        abstract: "Print a script that completes pantler's commands in a shell.",
        discussion: """
            bash: pantler completions bash > ~/.local/share/bash-completion/completions/pantler
            zsh:  pantler completions zsh > DIRECTORY_OF_YOUR_FPATH/_pantler
            fish: pantler completions fish > ~/.config/fish/completions/pantler.fish
            """
    )

    enum Shell: String, CaseIterable, ExpressibleByArgument {
        case bash, zsh, fish

        fileprivate var completionShell: CompletionShell {
            switch self {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        }
    }

    @Argument(help: "The shell.")
    var shell: Shell

    func run() throws {
        try Terminal.write(Array((Pantler.completionScript(for: shell.completionShell) + "\n").utf8))
    }
}
