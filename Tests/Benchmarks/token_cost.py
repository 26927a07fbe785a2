#!/usr/bin/env python3
"""What a token costs: CPU of a GET hit and of a PUT with a token, beside the same without, at two listeners of one service.

    Tests/Benchmarks/token_cost.py                   # about a minute and a half
    Tests/Benchmarks/token_cost.py get --rounds 15

Both listeners are plain, on loopback; one needs tokens. The requests are the same but for the field: the other one carries a field of the same
length that means nothing, since reading bytes costs the same whatever they say; `bare` is without either. By turns, and the ratio is the median
of those within the rounds. Fails where a hit with a token costs more than 1.05 times one without, in the median. Needs: wrk.
"""

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from guarded import Guarded, bearer
from load import entry_path, wrk
from servers import compact, value

KEYS = 10_000
MOST = 1.05


def main():
    options = parser(__doc__, rounds=9)
    options.add_argument("operations", nargs="*", metavar="get|put", help="(default: both)")
    options.add_argument("--connections", type=int, default=32)
    arguments = options.parse_args()
    operations = arguments.operations or ["get", "put"]
    if set(operations) - {"get", "put"}:
        options.error("operations are get and put")
    report = Report("CPU time a request, with a token and without", arguments)
    dear = []
    with workplace(arguments) as (folder, servers):
        pantler = Guarded(arguments.pantler, folder)
        servers.append(pantler)
        pantler.fill(KEYS)
        for operation in operations:
            token, filler = bearer(pantler.token), '{["x-trace-token"] = "' + "x" * len(f"Bearer {pantler.token}") + '"}'
            subjects = {
                "bare": load(pantler.open, operation, None, arguments),
                "without": load(pantler.open, operation, filler, arguments),
                "with": load(pantler.guarded, operation, token, arguments),
            }
            for measure in subjects.values():
                measure(seconds=1)
            taken = by_turns(subjects, arguments.rounds)
            for name, rounds in taken.items():
                figures = medians(rounds)
                if name == "with":
                    figures |= {"ratio": ratio(rounds, taken["bare"]), "ratio_same_length": ratio(rounds, taken["without"])}
                    if operation == "get" and figures["ratio"] > MOST:
                        dear.append(f"a hit with a token costs {figures['ratio']:.3f} times one without, and may cost {MOST}")
                report.add(f"{operation}: {name}", figures)
    report.write()
    if dear:
        raise SystemExit("\n".join(dear))


def load(door, operation, fields, arguments):
    if operation == "get":
        request = f'wrk.format("GET", "{entry_path()}", {fields or "nil"})'
    else:
        body = compact({"value": value(1), "ttl": 3600})
        table = '{["content-type"] = "application/json"' + (f", {fields[1:]}" if fields else "}")
        request = f'wrk.format("PUT", "{entry_path()}", {table}, [[{body}]])'
    return lambda seconds=arguments.seconds: wrk(
        door, request, seconds=seconds, connections=arguments.connections, keys=KEYS)


if __name__ == "__main__":
    main()
