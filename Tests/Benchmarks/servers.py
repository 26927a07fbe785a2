"""The servers that the scripts of this folder compare, and what is put into them: started on loopback and free ports, with what each of their
processes uses. Not run by itself.
"""

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
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

    def __init__(self, folder, workers="auto", name="nginx", more=""):
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
                        listen 127.0.0.1:{self.port} reuseport; {more}
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
