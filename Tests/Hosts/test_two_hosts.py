"""Two hosts, as two network namespaces of this machine: the service on one, and on the other two services of its users, which reach it by TLS with
a token. Certificate and token are rotated while they work, and no request of theirs may fail.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
SERVER, CLIENT = "192.0.2.1", "192.0.2.2"
TOKEN = re.compile(r"pt_([a-z]{8})_[A-Za-z0-9_-]{43}")
PORT, PLAIN_PORT = 8443, 8081


def sh(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=60, **more)


class Host:
    """A network namespace."""

    def __init__(self, name):
        self.name = name

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *(str(part) for part in command)]

    def run(self, *command):
        return sh(*self.command(*command))

    def start(self, *command, log, environment):
        with log.open("wb") as output:
            # ip becomes the command, so that signals reach it.
            return subprocess.Popen(self.command(*command), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                    env=clean_environment() | environment, cwd=log.parent)


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("PANTLER_")}


@pytest.fixture
def hosts():
    """The service's host, and that of its users, with a cable between them."""
    for command in ("ip", "openssl"):
        if shutil.which(command) is None:
            pytest.skip(f"there is no {command} here")
    names = [f"pantler-{os.getpid()}-{part}" for part in ("server", "client")]
    ends = [f"pt{os.getpid() % 100_000}{part}" for part in ("s", "c")]
    made = []
    try:
        try:
            for name in names:
                sh("ip", "netns", "add", name)
                made.append(name)
            sh("ip", "link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
            for name, end, address in zip(names, ends, (SERVER, CLIENT)):
                sh("ip", "-n", name, "address", "add", f"{address}/24", "dev", end)
                sh("ip", "-n", name, "link", "set", end, "up")
                sh("ip", "-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine makes no network namespaces: {error.stderr.strip() or error}")
        yield [Host(name) for name in names]
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False)


class Authority:
    """A certificate authority that was made by hand, as a team's own."""

    def __init__(self, folder):
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self.key = folder / "ca-key.pem"
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
           "/CN=A team's own authority", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
           "-out", self.certificate, "-keyout", self.key)

    def issue(self, serial, certificate, key):
        """A certificate for the service's host and its key, put in the place of those that are there."""
        fresh, request, extensions = self.folder / "fresh", self.folder / "request.pem", self.folder / "extensions"
        extensions.write_text(f"subjectAltName=IP:{SERVER},DNS:cache.test\nextendedKeyUsage=serverAuth\n")
        sh("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=cache.test", "-out", request,
           "-keyout", f"{fresh}.key")
        sh("openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-set_serial", serial, "-days", "2",
           "-extfile", extensions, "-out", f"{fresh}.pem")
        os.replace(f"{fresh}.key", key)
        os.replace(f"{fresh}.pem", certificate)


class User:
    """A service that puts and gets, over and over, until it is told to stop."""

    def __init__(self, name, command, host, folder, token_file, authority):
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.log, self.status = self.folder / "log", self.folder / "status"
        self.process = host.start(*command, log=self.log, environment={
            "PANTLER_URL": f"https://{SERVER}:{PORT}", "PANTLER_CA": str(authority.certificate), "PANTLER_TOKEN_FILE": str(token_file),
            "STATUS_FILE": str(self.status), "STOP_FILE": str(self.folder / "stop"), "NAME": name})

    def told(self):
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}"
        return json.loads(self.status.read_text()) if self.status.exists() else {"requests": 0, "serials": [], "tokens": []}

    def stop(self):
        (self.folder / "stop").touch()
        assert self.process.wait(60) == 0, f"{self.name}:\n{self.log.read_text()[-4000:]}"
        return json.loads(self.status.read_text())


def eventually(what, holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"within {seconds} s not: {what}"
        time.sleep(0.05)


@pytest.fixture
def place(hosts, tmp_path, request):
    """The service with a certificate and a token, running on its host. A test may add to the configuration by its parameter."""

    class Place:
        server, client = hosts
        executable = Path(os.environ.get("PANTLER_EXECUTABLE", ROOT / ".build/debug/pantler"))
        data, token_file = tmp_path / "data", tmp_path / "token"
        certificate, key = tmp_path / "server.pem", tmp_path / "server-key.pem"

        def status(self, token):
            """What a call of the other host is answered that carries this token."""
            answer = self.client.run(
                "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert", self.authority.certificate, "--header",
                f"Authorization: Bearer {token}", f"https://{SERVER}:{PORT}/v1/token")
            return int(answer.stdout)

        def metric(self, name):
            page = self.server.run("curl", "--silent", "--fail", "http://127.0.0.1:8080/metrics").stdout
            return next(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name + " "))

        def local(self, *command):
            """`pantler` on the service's host, by the listener there that only that host reaches."""
            return self.server.run(self.executable, *command, "--url", "http://127.0.0.1:8080").stdout

        def give(self, token):
            fresh = tmp_path / "token.fresh"
            fresh.write_text(token + "\n")
            os.replace(fresh, self.token_file)

    place = Place()
    assert place.executable.exists(), f"{place.executable} is not there: run `swift build`, or set PANTLER_EXECUTABLE"
    place.data.mkdir()
    place.authority = Authority(tmp_path)
    place.authority.issue(1001, place.certificate, place.key)
    made = sh(place.executable, "token", "create", "--role", "write", "--namespace", "shop-*", "--data-dir", place.data,
              env=clean_environment()).stdout
    place.token = TOKEN.search(made)
    assert place.token, made
    place.give(place.token[0])
    configuration = tmp_path / "pantler.yaml"
    configuration.write_text(f"""
data_dir: {place.data}
server:
  listen:
    - address={SERVER} port={PORT} tls=true
    - address={SERVER} port={PLAIN_PORT} plaintext=true
    - address=127.0.0.1 port=8080
tls:
  certificate: {place.certificate}
  key: {place.key}
{getattr(request, "param", "")}
""")
    log = tmp_path / "log"
    place.process = place.server.start(place.executable, "serve", "--config", configuration, log=log, environment={})
    try:
        eventually("the service serves", lambda: "Serving" in log.read_text() or place.process.poll() is not None, 30)
        assert place.process.poll() is None, log.read_text()[-4000:]
        yield place
        place.process.send_signal(signal.SIGTERM)
        assert place.process.wait(30) == 0, log.read_text()[-4000:]
        assert not TOKEN.search(log.read_text()), "a token stands in the log"
    finally:
        if place.process.poll() is None:
            place.process.kill()
            place.process.wait()


def test_services_of_another_host_put_and_get_while_certificate_and_token_are_rotated(place, tmp_path):
    users = [User("shop-python", [sys.executable, PROGRAMS / "service.py"], place.client, tmp_path, place.token_file, place.authority)]
    if shutil.which("javac"):
        users.append(User("shop-java", ["java", PROGRAMS / "Service.java"], place.client, tmp_path, place.token_file, place.authority))
    try:
        eventually("all of them work", lambda: all(user.told()["requests"] >= 100 for user in users))

        place.authority.issue(1002, place.certificate, place.key)
        place.process.send_signal(signal.SIGHUP)
        eventually("all of them are shown the new certificate", lambda: all(1002 in user.told()["serials"] for user in users))

        rotated = place.local("token", "rotate", place.token[1], "--grace", "20s")
        renewed = TOKEN.search(rotated)
        assert renewed and renewed[1] == place.token[1], rotated
        assert place.status(place.token[0]) == 200, "the old secret holds for a while"
        place.give(renewed[0])
        eventually("all of them use the new token", lambda: all(len(user.told()["tokens"]) == 2 for user in users))
        eventually("the old secret's time is over", lambda: place.status(place.token[0]) == 401)
        before = [user.told()["requests"] for user in users]
        eventually("all of them go on", lambda: all(user.told()["requests"] >= old + 100 for user, old in zip(users, before)))
    finally:
        for user in users:
            (user.folder / "stop").touch()
    for user in users:
        told = user.stop()
        assert told["failures"] == 0, f"{user.name}: {told}\n{user.log.read_text()[-4000:]}"
    if len(users) == 1:
        pytest.skip("there is no javac here: the Java service was left out, Python's was served")


def test_a_stranger_on_the_other_host_is_told_nothing(place):
    assert place.status("pt_aaaaaaaa_" + "A" * 43) == 401
    curl = ["curl", "--silent", "--output", "/dev/null", "--max-time", "10", "--write-out", "%{http_code}"]
    answer = place.client.run(*curl, "--cacert", place.authority.certificate, f"https://{SERVER}:{PORT}/v1/namespaces")
    assert answer.stdout == "401"
    # A client that does not know the authority does not trust the service, and one without TLS is told that alone.
    told = subprocess.run(place.client.command(*curl, f"https://{SERVER}:{PORT}/livez"), capture_output=True, text=True, check=False)
    assert told.returncode == 60 and told.stdout == "000", f"{told}"
    assert place.client.run(*curl, f"http://{SERVER}:{PORT}/livez").stdout == "400"
    # What the service's own host may do without a token is not to be reached from here.
    told = subprocess.run(place.client.command(*curl, f"http://{SERVER}:8080/livez"), capture_output=True, text=True, check=False)
    assert told.returncode == 7, f"{told}"


# Opens that many connections at a port, of which each prints what comes back within two seconds, and holds them until its input ends.
MANY = """
import socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
held = [socket.create_connection(("%s", port), 10) for _ in range(count)]
for one in held:
    one.settimeout(2)
    try:
        print(repr(one.recv(4096)), flush=True)
    except TimeoutError:
        print("open", flush=True)
sys.stdin.read()
""" % SERVER


@pytest.mark.parametrize("place", ["limits: {connections_per_peer: 3}"], indirect=True)
@pytest.mark.parametrize("port", [PORT, PLAIN_PORT])
def test_a_host_has_so_many_connections_and_leaves_the_others_theirs(place, port):
    def open_many():
        command = place.client.command(sys.executable, "-c", MANY, port, 5)
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    for turn in (1, 2):
        with open_many() as crowd:
            told = [crowd.stdout.readline().strip() for _ in range(5)]
            assert told[:3] == ["open"] * 3, told
            for refused in told[3:]:
                # Who speaks TLS cannot be told in words that it has not agreed on.
                assert refused == "b''" if port == PORT else "503 Service Unavailable" in refused and "retry-after: 1" in refused, told
            assert place.metric('pantler_connections_refused_total{reason="peer"}') == 2 * turn
            # The service's own host is not counted.
            assert place.server.run("curl", "--silent", "--fail", "http://127.0.0.1:8080/livez").returncode == 0
            crowd.stdin.close()
        # Whoever has left may come again.
        eventually("they are gone", lambda: place.metric("pantler_connections") == 1)
