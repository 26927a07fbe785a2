"""What the scripts of this folder share: servers on loopback, their CPU time and memory, load, medians, and the output.

Not run by itself. A script is a list of things that are measured by turns; each measurement is a dictionary of figures, and what is
told in the end is the median of each figure. Needs Python 3.9 and Linux; what else a script needs (wrk, nginx, redis, webdis, all
packages of Debian) it says itself, and leaves out what is not there.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SCRIPTS = os.path.dirname(os.path.abspath(__file__))
NAMESPACE = "bench"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


# Data


def key(number):
    return f"user:profile:{number:08d}"


def value(number):
    """About 220 bytes of compact JSON."""
    draw = random.Random(number)
    return {
        "id": number, "name": f"user {number}", "email": f"user{number}@example.com", "active": number % 3 > 0,
        "score": round(draw.random() * 1000, 10), "tags": ["alpha", "beta", "gamma"][: number % 4],
        "created": f"2026-01-{number % 28 + 1:02d}T10:00:00Z", "bio": "x" * (20 + number % 60),
    }


def compact(tree):
    return json.dumps(tree, separators=(",", ":"))


# Servers


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def have(*programs):
    """Whether all of them are installed; says so where one is not."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        print(f"left out: {', '.join(missing)} is not installed", file=sys.stderr)
    return not missing


def compiled(source, folder, *flags):
    """What cc makes of a C file of this folder, in a folder for temporary files."""
    if not have("cc"):
        raise SystemExit(f"cc compiles {source}: apt-get install gcc")
    path = os.path.join(folder, os.path.splitext(source)[0])
    subprocess.run(["cc", "-O2", "-o", path, *flags, os.path.join(SCRIPTS, source)], check=True)
    return path


class Server:
    """One or more processes on loopback, with a folder of their own."""

    def __init__(self, name, folder, environment=None):
        self.name = name
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        self.environment = {**os.environ, **(environment or {})}
        self.processes = []

    def spawn(self, arguments, port):
        """Starts a process, and returns as soon as its port is open."""
        log_path = os.path.join(self.folder, "log")
        with open(log_path, "ab") as log:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                       env=self.environment)
        self.processes.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            if process.poll() is not None:
                break
            time.sleep(0.002)
        with open(log_path, errors="replace") as log:
            raise SystemExit(f"{self.name} does not answer at port {port}:\n{log.read()[-2000:]}")

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def pids(self):
        """The processes and their children (nginx's workers)."""
        found = []
        for process in self.processes:
            found.append(process.pid)
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
                found += [int(pid) for pid in children.read().split()]
        return found

    def pin(self, cores):
        """Keeps all of its present threads, and those that they start, on these cores."""
        for pid in self.pids():
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cores)

    def cpu_seconds(self):
        """User and system time so far, in the kernel's ticks of 10 ms."""
        ticks = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_SECOND

    def resident_bytes(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/status") as status:
                total += int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024
        return total


class Pantler(Server):
    def __init__(self, executable, folder, *arguments, name="pantler", configuration=None, environment=None):
        super().__init__(name, folder, environment)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.command = [
            os.path.abspath(executable), "serve", "--host", "127.0.0.1", "--port", str(self.port),
            "--data-dir", os.path.join(self.folder, "data"), "--log-level", "warning", *arguments,
        ]
        if configuration:
            path = os.path.join(self.folder, "pantler.yaml")
            with open(path, "w") as file:
                file.write(configuration)
            self.command += ["--config", path]
        self.spawn(self.command, self.port)

    def call(self, method, path, body=None, content_type="application/json", okay=(200, 201, 204)):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Content-Type": content_type} if body is not None else {}
            connection.request(method, path, body if body is None else compact(body), headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status not in okay:
            raise SystemExit(f"{self.name}: {method} {path} was answered {response.status}: {text[:500]!r}")
        return text

    def set_policy(self, namespace=NAMESPACE, **policy):
        self.call("PUT", f"/v1/namespaces/{namespace}", policy)

    def fill(self, count, namespace=NAMESPACE, ttl=None):
        """Puts the entries 0..<count by batches over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        bodies = _batches(count, ttl)
        for body in bodies:
            connection.request(
                "POST", f"/v1/namespaces/{namespace}/batch/set", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            if response.status != 200 or b'"errors":[]' not in text:
                raise SystemExit(f"{self.name}: filling was answered {response.status}: {text[-500:]!r}")
        connection.close()

    def metric(self, name):
        """The sum of a metric's samples."""
        page = self.call("GET", "/metrics").decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
                   if re.match(rf"{re.escape(name)}[ {{]", line))

    def await_disk(self):
        """Returns when nothing waits to be written any more."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            stats = json.loads(self.call("GET", "/v1/stats"))
            if stats["write_behind"]["entries"] == 0:
                return
            time.sleep(0.05)
        raise SystemExit(f"{self.name}: the disk does not keep up")


def _batches(count, ttl):
    # Values are made once for every thousand entries: with a million of them Python would take longer than the server.
    values = [compact(value(number)) for number in range(1000)]
    life = "" if ttl is None else f',"ttl":{ttl}'
    for start in range(0, count, 500):
        yield '{"entries":[' + ",".join(
            f'{{"key":"{key(number)}","value":{values[number % 1000]}{life}}}'
            for number in range(start, min(count, start + 500))) + "]}"


class Nginx(Server):
    """Answers a constant: what HTTP costs on this machine, and no cache."""

    def __init__(self, folder, workers="auto", name="nginx"):
        super().__init__(name, folder)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        body = compact({"key": key(1), "value": value(1), "version": 7, "expires_at": None})
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(f"""
                daemon off; worker_processes {workers}; pid {self.folder}/pid; error_log {self.folder}/errors;
                events {{ worker_connections 4096; }}
                http {{
                    access_log off; keepalive_requests 1000000000;
                    server {{
                        listen 127.0.0.1:{self.port} reuseport;
                        location / {{ default_type application/json; add_header ETag '"7"'; return 200 '{body}'; }}
                    }}
                }}
            """)
        self.spawn(["nginx", "-p", self.folder, "-c", path], self.port)


class Redis(Server):
    def __init__(self, folder, appends=False, name="redis"):
        super().__init__(name, folder)
        self.redis_port = free_port()
        self.spawn(
            ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
             "--appendonly", "yes" if appends else "no", "--appendfsync", "everysec"],
            self.redis_port)

    def fill(self, count, digits=8):
        """The entries 0..<count, with keys like everybody's, or with longer numbers in them."""
        with socket.create_connection(("127.0.0.1", self.redis_port)) as connection:
            answers = connection.makefile("rb")
            for start in range(0, count, 500):
                numbers = range(start, min(count, start + 500))
                connection.sendall(b"".join(_command("SET", f"user:profile:{n:0{digits}d}", compact(value(n % 1000))) for n in numbers))
                for _ in numbers:
                    if answers.readline() != b"+OK\r\n":
                        raise SystemExit("redis does not take its entries")


def _command(*words):
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(parts)}\r\n{''.join(parts)}".encode()


class Webdis(Redis):
    """HTTP in front of Redis, whose log is synced every second: both are counted."""

    def __init__(self, folder):
        super().__init__(folder, appends=True, name="webdis")
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        path = os.path.join(self.folder, "webdis.json")
        with open(path, "w") as file:
            json.dump({
                "redis_host": "127.0.0.1", "redis_port": self.redis_port, "http_host": "127.0.0.1", "http_port": port,
                "threads": os.cpu_count(), "pool_size": 20, "daemonize": False, "websockets": False, "database": 0,
                "verbosity": 0, "http_max_request_size": 1 << 24, "logfile": os.path.join(self.folder, "webdis.log"),
            }, file)
        self.spawn(["webdis", path], port)


# Load


def entry_path(number='" .. string.format("%08d", math.random(0, KEYS - 1)) .. "', namespace=NAMESPACE):
    """As Lua text, to stand within double quotes: by default with a random number."""
    return f"/v1/namespaces/{namespace}/entries/user:profile:{number}"


def pantler_request(operation, namespace=NAMESPACE, batch=100):
    """A Lua expression for a request of Pantler's, made of random keys."""
    json_type = '{["content-type"] = "application/json"}'
    if operation == "get":
        return f'wrk.format("GET", "{entry_path(namespace=namespace)}")'
    if operation == "set":
        body = compact({"value": value(1), "ttl": 3600})
        return f'wrk.format("PUT", "{entry_path(namespace=namespace)}", {json_type}, [[{body}]])'
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


# Measuring by turns


def by_turns(subjects, rounds):
    """Calls each of the functions once a round, so that a slow moment of the machine meets all of them alike.

    Returns for each name the list of its figures, round by round.
    """
    taken = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            taken[name].append(measure())
    return taken


def medians(rounds):
    return {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}


def ratio(ours, theirs, figure="cpu_us"):
    """The median of the ratios within each round: what the machine did meanwhile cancels out."""
    pairs = [(one[figure], other[figure]) for one, other in zip(ours, theirs) if other[figure] > 0]
    return statistics.median(one / other for one, other in pairs) if pairs else None


class Report:
    """Figures by name: lines for people, and a file for programs."""

    def __init__(self, title, arguments):
        self.path = arguments.json
        self.tree = {
            "title": title, "machine": machine(),
            "arguments": {name: value for name, value in vars(arguments).items() if name not in ("json", "pantler")},
            "figures": {},
        }
        print(title)

    def add(self, name, figures):
        self.tree["figures"][name] = figures
        cells = [f"{figure} {number:,.3g}" if abs(number) < 100 else f"{figure} {number:,.0f}"
                 for figure, number in figures.items() if number is not None]
        print(f"  {name:36s} {'   '.join(cells)}", flush=True)

    def write(self):
        if self.path:
            with open(self.path, "w") as file:
                json.dump(self.tree, file, indent=2)
                file.write("\n")


def machine():
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read())
    system = os.uname()
    return {"cpu": model[1] if model else system.machine, "cores": os.cpu_count(), "kernel": system.release,
            "load_before": os.getloadavg()[0]}


# The command line


def parser(docstring, rounds=5, seconds=3):
    made = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--pantler", default=".build/release/pantler", help="the executable (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=rounds, help="of which the median is told (default: %(default)s)")
    made.add_argument("--seconds", type=int, default=seconds, help="of load in each round (default: %(default)s)")
    made.add_argument("--folder", help="where servers keep their data; decides which disk is measured (default: the "
                                       "system's folder for temporary files)")
    made.add_argument("--json", help="also write all figures to this file")
    return made


@contextlib.contextmanager
def workplace(arguments):
    """A folder and a list of servers, which end with the block whatever happens in it."""
    if not os.access(arguments.pantler, os.X_OK):
        raise SystemExit(f"{arguments.pantler} is no executable: build it with `swift build -c release`, or name it by "
                         "--pantler.")
    if not have("wrk"):
        raise SystemExit("wrk makes the load: apt-get install wrk")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else soft, hard))
    # So that what follows is undone for `timeout` as well as for Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="pantler-benchmark-", dir=arguments.folder)
    servers = []
    try:
        yield folder, servers
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
