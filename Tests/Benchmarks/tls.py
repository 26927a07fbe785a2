#!/usr/bin/env python3
"""What TLS costs: CPU time of a GET that hits over connections that are kept, beside nginx's constant, with and without TLS.

    Tests/Benchmarks/tls.py                          # about two minutes
    Tests/Benchmarks/tls.py --only handshakes

Hits: wrk over 32 connections, by turns. Both servers show the same certificate (P-256), and speak TLS 1.3 with the cipher
that wrk likes best, which is told. `pantler_is` is the ratio to nginx in the same round.

Handshakes: while one client has its hits over a connection without TLS, 200 others begin TLS at once, again and again, with RSA keys of 2048
and 4096 bits, which are dear to sign with. As root, so that the service need not wait for a core that clients have. Told are the hits' latencies beside those of a quiet time, how long single events held the
loop, and the handshakes a second. Needs: wrk; openssl, and for the comparison nginx-light.
"""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import time

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import pantler_request, wrk
from servers import NAMESPACE, Nginx, Pantler, free_port, have, key

KEYS = 10_000
CLIENTS = 200


def main():
    options = parser(__doc__)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--only", choices=["hits", "handshakes"])
    arguments = options.parse_args()
    report = Report("TLS: CPU time of a hit beside nginx, and hits beside handshakes", arguments)
    if arguments.only != "handshakes":
        with workplace(arguments) as (folder, servers):
            compare_hits(arguments, folder, servers, report)
    if arguments.only != "hits":
        for kind in ["rsa:2048", "rsa:4096"]:
            with workplace(arguments) as (folder, servers):
                measure_handshakes(arguments, folder, servers, report, kind)
    report.write()


def certificate(folder, kind="ec"):
    """A certificate that nobody has signed but itself, and its key."""
    paths = os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem")
    if not os.path.exists(paths[0]):
        how = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else ["-newkey", kind]
        subprocess.run(
            ["openssl", "req", "-x509", *how, "-noenc", "-days", "2", "-subj", "/CN=localhost", "-out", paths[0], "-keyout", paths[1]],
            check=True, stderr=subprocess.DEVNULL)
    return paths


class SecuredPantler(Pantler):
    """Listens without TLS, and with TLS as `secured`."""

    def __init__(self, executable, folder, kind="ec"):
        path, key_path = certificate(folder, kind)
        ports = free_port(), free_port()
        configuration = f"""
server:
  listen:
    - address=127.0.0.1 port={ports[0]}
    - address=127.0.0.1 port={ports[1]} tls=true
tls: {{ certificate: {path}, key: {key_path} }}
"""
        self.fixed_port = ports[0]
        super().__init__(executable, folder, configuration=configuration)
        self.secured = Other(self, ports[1])

    def spawn(self, arguments, port):
        self.port = self.fixed_port
        self.base = f"http://127.0.0.1:{self.port}"
        super().spawn(arguments, self.port)


class SecuredNginx(Nginx):
    def __init__(self, folder):
        self.secured_port = free_port()
        path, key_path = certificate(folder)
        super().__init__(folder, more=f"""
            listen 127.0.0.1:{self.secured_port} ssl reuseport;
            ssl_certificate {path}; ssl_certificate_key {key_path};
            ssl_protocols TLSv1.2 TLSv1.3;
        """)
        self.secured = Other(self, self.secured_port)


class Other:
    """Another port of a server."""

    def __init__(self, server, port):
        self.server, self.base, self.folder, self.port = server, f"https://127.0.0.1:{port}", server.folder, port

    def cpu_seconds(self):
        return self.server.cpu_seconds()


def compare_hits(arguments, folder, servers, report):
    pantler = SecuredPantler(arguments.pantler, folder)
    servers.append(pantler)
    pantler.fill(KEYS)
    subjects = {"pantler": pantler, "pantler, TLS": pantler.secured}
    if have("nginx"):
        nginx = SecuredNginx(folder)
        servers.append(nginx)
        subjects |= {"nginx": nginx, "nginx, TLS": nginx.secured}
    for name, server in subjects.items():
        if "TLS" in name:
            print(f"  {name}: {spoken(server.port)}")

    def measure(server, seconds=arguments.seconds):
        return wrk(server, pantler_request("get"), seconds=seconds, connections=arguments.connections, keys=KEYS)

    for server in subjects.values():
        measure(server, 1)
    taken = by_turns({name: lambda server=server: measure(server) for name, server in subjects.items()}, arguments.rounds)
    for name, rounds in taken.items():
        figures = medians(rounds)
        if name.startswith("nginx"):
            figures["pantler_is"] = ratio(taken[name.replace("nginx", "pantler")], rounds)
        report.add(name, figures)


def spoken(port):
    """Version and cipher that a client of OpenSSL agrees on."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
        return f"{connection.version()} {connection.cipher()[0]}"


# Handshakes


def measure_handshakes(arguments, folder, servers, report, kind):
    pantler = SecuredPantler(arguments.pantler, folder, kind)
    servers.append(pantler)
    pantler.fill(KEYS)
    prefer(pantler)
    report.add(f"{kind}: quiet", hits(pantler, arguments.seconds))
    before = stalls(pantler)
    done = pantler.metric("pantler_tls_handshakes_total")
    clients = handshaking(pantler.secured.port, arguments.seconds + 1)
    time.sleep(0.5)
    figures = hits(pantler, arguments.seconds)
    for client in clients:
        client.wait()
    figures["handshakes_per_second"] = (pantler.metric("pantler_tls_handshakes_total") - done) / (arguments.seconds + 1)
    after = stalls(pantler)
    for bound, count in after.items():
        figures[f"stays_over_{bound}"] = count - before[bound]
    report.add(f"{kind}: {CLIENTS} clients begin TLS", figures)


def prefer(pantler):
    """Lets its threads go first, and who measures the hits: the work of 200 clients would be that of other machines."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        for thread in os.listdir(f"/proc/{pantler.pids()[0]}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), -15)


def hits(pantler, seconds):
    """Latencies of GETs that hit, one after the other over one connection without TLS."""
    request = f"GET /v1/namespaces/{NAMESPACE}/entries/{key(1)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    latencies = []
    with socket.create_connection(("127.0.0.1", pantler.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            connection.sendall(request)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("a hit was none")
            latencies.append((time.perf_counter() - begin) * 1e6)
            time.sleep(0.0005)
    latencies.sort()
    return {f"p{name}_us": latencies[min(len(latencies) - 1, int(len(latencies) * share))]
            for name, share in [("50", .5), ("99", .99), ("99.9", .999), ("100", 1)]}


CLIENT = """
import selectors, socket, ssl, sys, time
port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
end = time.monotonic() + seconds
while time.monotonic() < end:
    waiting = selectors.DefaultSelector()
    for _ in range(count):
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setblocking(False)
        secured = context.wrap_socket(plain, do_handshake_on_connect=False)
        waiting.register(secured, selectors.EVENT_WRITE)
    while waiting.get_map() and time.monotonic() < end + 5:
        for ready, _ in waiting.select(1):
            try:
                ready.fileobj.do_handshake()
            except ssl.SSLWantReadError:
                waiting.modify(ready.fileobj, selectors.EVENT_READ)
                continue
            waiting.unregister(ready.fileobj)
            ready.fileobj.close()
"""


def handshaking(port, seconds):
    """One process that has so many connections begin TLS at once, and then anew."""
    return [subprocess.Popen(["nice", "-n", "30", "python3", "-c", CLIENT, str(port), str(CLIENTS), str(seconds)])]


def stalls(pantler):
    """How many single events have held the loop for longer than some bounds."""
    page = pantler.call("GET", "/metrics").decode()
    buckets = {float(bound): float(count) for bound, count in
               re.findall(r'^pantler_loop_stall_seconds_bucket\{le="([^"]+)"\} (\S+)', page, re.M)}
    total = buckets[float("inf")]
    return {f"{round(bound * 1e3, 3):g}ms": total - count for bound, count in sorted(buckets.items()) if 0.0005 <= bound <= 0.02}


if __name__ == "__main__":
    main()
