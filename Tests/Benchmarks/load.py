"""The load that the scripts of this folder put on servers: requests as wrk's Lua, and what wrk tells of them. Not run by itself."""

import json
import os
import re
import subprocess
import time

from servers import NAMESPACE, compact, value


# As Lua text, to stand within double quotes.
RANDOM = '" .. string.format("%08d", math.random(0, KEYS - 1)) .. "'


def entry_path(number=RANDOM, namespace=NAMESPACE, view="entries"):
    """As Lua text, to stand within double quotes: by default with a random number."""
    return f"/v1/namespaces/{namespace}/{view}/user:profile:{number}"


def pantler_request(operation, namespace=NAMESPACE, batch=100):
    """A Lua expression for a request of Pantler's, made of random keys."""
    json_type = '{["content-type"] = "application/json"}'
    if operation == "get":
        return f'wrk.format("GET", "{entry_path(namespace=namespace)}")'
    if operation == "set":
        body = compact({"value": value(1), "ttl": 3600})
        return f'wrk.format("PUT", "{entry_path(namespace=namespace)}", {json_type}, [[{body}]])'
    if operation == "lease":
        # With an empty body wrk says Content-Length: 0, as HTTP clients do.
        return f'wrk.format("POST", "{entry_path(namespace=namespace, view="leases")}", nil, "")'
    if operation == "lease, bare":
        # Without a body wrk says nothing of its length, as `curl -X POST` does.
        return f'wrk.format("POST", "{entry_path(namespace=namespace, view="leases")}")'
    if operation == "lease, waiting":
        body = compact({"ttl": 10, "wait": 5})
        return f'wrk.format("POST", "{entry_path(namespace=namespace, view="leases")}", {json_type}, [[{body}]])'
    if operation == "mget":
        keys = f'"{{\\"keys\\":[\\"" .. table.concat(keys({batch}), "\\",\\"") .. "\\"]}}"'
        return f'wrk.format("POST", "/v1/namespaces/{namespace}/batch/get", {json_type}, {keys})'
    raise ValueError(operation)


def webdis_request(operation, batch=100):
    random_key = '" .. keys(1)[1] .. "'
    if operation == "get":
        return f'wrk.format("GET", "/GET/{random_key}")'
    if operation == "set":
        return f'wrk.format("PUT", "/SET/{random_key}", nil, [[{compact(value(1))}]])'
    if operation == "mget":
        return f'wrk.format("GET", "/MGET/" .. table.concat(keys({batch}), "/"))'
    raise ValueError(operation)


def wrk(server, request, *, connections, **more):
    """Drives a server with one thread of wrk, and measures both. The rest is as for `wrks`."""
    return wrks([(server, connections, None)], request, **more)


def wrks(clients, request, *, seconds, keys=10_000, pipeline=1, prepared=4096, opening=0):
    """Drives servers with several wrk at once, of a thread each: for each the server, connections, and the cores that it stays on.

    `request` is a Lua expression; `prepared` of them are made before the start, and sent in turn, over and over: more entries than
    that are not touched. A request of wrk's is `pipeline` of them at once. What the servers do in the first `opening` seconds is
    left out of their CPU time: to accept a thousand connections is not the work of a hit.
    Returns CPU microseconds of the servers a request, requests a second, and percentiles of the latency in microseconds: of several
    clients the worst.
    """
    servers = list(dict.fromkeys(server for server, _, _ in clients))
    scripts = {server: _lua(server, request, keys, pipeline, prepared) for server in servers}
    before = sum(server.cpu_seconds() for server in servers)
    processes = [_start_wrk(server, scripts[server], connections, seconds, cores) for server, connections, cores in clients]
    if opening:
        time.sleep(opening)
        before = sum(server.cpu_seconds() for server in servers)
        begin = time.monotonic()
        # wrk has yet to end then: nothing is closed so far either.
        time.sleep(seconds - opening)
        spent = sum(server.cpu_seconds() for server in servers) - before
        window = time.monotonic() - begin
    told = [_told_by_wrk(process, server, seconds) for process, (server, _, _) in zip(processes, clients)]
    per_second = sum(one["per_second"] for one in told)
    if opening:
        requests = per_second * window
    else:
        spent = sum(server.cpu_seconds() for server in servers) - before
        requests = sum(one["requests"] for one in told)
    return {"cpu_us": spent * 1e6 / requests, "per_second": per_second,
            "p50_us": max(one["p50_us"] for one in told), "p99_us": max(one["p99_us"] for one in told)}


def _lua(server, request, keys, pipeline, prepared):
    path = os.path.join(server.folder, "wrk.lua")
    with open(path, "w") as file:
        file.write(f"""
            local KEYS = {keys}
            local prepared, count = {{}}, 0
            local function keys(n)
                local drawn = {{}}
                for i = 1, n do drawn[i] = "user:profile:" .. string.format("%08d", math.random(0, KEYS - 1)) end
                return drawn
            end
            function init()
                math.randomseed(7)
                for i = 1, {prepared} do
                    local parts = {{}}
                    for j = 1, {pipeline} do parts[j] = {request} end
                    prepared[i] = table.concat(parts)
                end
            end
            function request() count = count % {prepared} + 1 return prepared[count] end
        """)
    return path


def _start_wrk(server, script, connections, seconds, cores):
    return subprocess.Popen(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", script, server.base],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None)


def _told_by_wrk(process, server, seconds):
    output = process.communicate(timeout=seconds + 60)[0]
    # wrk counts answers, of which a pipelined request of its own has several.
    total = re.search(r"(\d+) requests in ", output)
    odd = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", output)
    if not total or int(total[1]) == 0 or odd:
        raise SystemExit(f"{server.name}: {odd[0] if odd else 'no answers'}\n{output}")
    figures = {
        "requests": int(total[1]),
        "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),
    }
    for percent in ("50", "99"):
        figures[f"p{percent}_us"] = _microseconds(re.search(rf"\s{percent}%\s+(\S+)", output)[1])
    return figures


def _microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


# paced.c


def paced(client, server, *arguments, cores=None):
    """Starts the compiled paced.c with its arguments behind the port."""
    return subprocess.Popen([client, str(server.port), *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None)


def told_by_paced(process):
    output = process.communicate(timeout=60)[0]
    if process.returncode != 0:
        raise SystemExit("a client failed")
    return json.loads(output)
