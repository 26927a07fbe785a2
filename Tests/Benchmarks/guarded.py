"""A Pantler that others may reach: listeners with tokens, and with TLS, beside one without. Shared by the scripts that measure what these cost
and what they keep off; not run by itself.
"""

import os
import subprocess

from servers import Pantler, free_port


class Door:
    """One of a service's listeners, to be measured as if it were a server."""

    def __init__(self, server, name, port, scheme="http"):
        self.server = server
        self.name = name
        self.port = port
        self.base = f"{scheme}://127.0.0.1:{port}"
        # For what a client writes there.
        self.folder = os.path.join(server.folder, name.replace(" ", "-"))
        os.makedirs(self.folder, exist_ok=True)

    def __getattr__(self, name):
        return getattr(self.server, name)


class Guarded(Pantler):
    """One service, open on one port of this machine, and by a token on another: `open`, `guarded`, and `secure` by TLS as well. The calls of
    `Pantler` go by the open one."""

    def __init__(self, executable, folder, name="guarded", configuration="", tls=False):
        # Not the parent's: it listens at one place.
        super(Pantler, self).__init__(name, folder)
        self.executable = os.path.abspath(executable)
        self.data = os.path.join(self.folder, "data")
        os.makedirs(self.data)
        self.token = self.make_token("admin")
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.open = Door(self, "open", self.port)
        self.guarded = Door(self, "guarded", free_port())
        self.secure = Door(self, "secure", free_port(), "https") if tls else None
        listeners = [{"address": "127.0.0.1", "port": self.port, "tokens": False},
                     {"address": "127.0.0.1", "port": self.guarded.port, "tokens": True}]
        if tls:
            self.certificate, self.key = self.make_certificate()
            listeners.append({"address": "127.0.0.1", "port": self.secure.port, "tokens": True, "tls": True})
            configuration += f"tls:\n  certificate: {self.certificate}\n  key: {self.key}\n"
        path = os.path.join(self.folder, "pantler.yaml")
        with open(path, "w") as file:
            file.write(configuration + "server:\n  listen:\n")
            for listener in listeners:
                file.write(f"    - {' '.join(f'{key}={str(value).lower()}' for key, value in listener.items())}\n")
        self.command = [self.executable, "serve", "--data-dir", self.data, "--log-level", "warning", "--config", path]
        self.spawn(self.command, self.port)

    def make_token(self, role):
        """A new token, made while the service is stopped."""
        made = subprocess.run([self.executable, "token", "create", "--role", role, "--data-dir", self.data],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise SystemExit(f"no token was made: {made.stdout}{made.stderr}")
        return made.stdout.split()[-1]

    def make_certificate(self):
        """A certificate for this machine that nobody else trusts, and its key: their paths."""
        certificate, key = os.path.join(self.folder, "certificate.pem"), os.path.join(self.folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", certificate,
                        "-keyout", key], check=True, capture_output=True)
        return certificate, key


def bearer(token):
    """As a Lua table of fields."""
    return f'{{["authorization"] = "Bearer {token}"}}'
