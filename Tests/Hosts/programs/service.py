"""A user's service: puts and gets by TLS with a token, both read anew as they are rotated. Only Python's own library."""

import http.client
import json
import os
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

NAME = os.environ["NAME"]
URL = urlsplit(os.environ["PANTLER_URL"])
TOKEN_FILE, STATUS, STOP = (Path(os.environ[name]) for name in ("PANTLER_TOKEN_FILE", "STATUS_FILE", "STOP_FILE"))
# So often a service's pool begins a new connection, which is when it is shown the certificate.
REQUESTS_OF_A_CONNECTION = 50

trust = ssl.create_default_context(cafile=os.environ["PANTLER_CA"])
told = {"requests": 0, "failures": 0, "serials": [], "tokens": [], "latest": ""}


def tell():
    fresh = STATUS.with_suffix(".fresh")
    fresh.write_text(json.dumps(told))
    fresh.replace(STATUS)


def note(name, value):
    if value not in told[name]:
        told[name].append(value)


def connect():
    connection = http.client.HTTPSConnection(URL.hostname, URL.port, timeout=30, context=trust)
    connection.connect()
    note("serials", int(connection.sock.getpeercert()["serialNumber"], 16))
    return connection


def call(connection, method, path, body, wanted):
    token = TOKEN_FILE.read_text().strip()
    # Not the token itself: what a program prints is read by many.
    note("tokens", hash(token))
    headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": "application/json"} if body else {})
    told["requests"] += 1
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status in wanted:
            return json.loads(text)
        print(f"{method} {path}: {answer.status} {text}", flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(f"{method} {path}: {error!r}", flush=True)
    told["failures"] += 1
    return None


number = 0
while not STOP.exists():
    connection = connect()
    for _ in range(REQUESTS_OF_A_CONNECTION // 2):
        number += 1
        path = f"/v1/namespaces/{NAME}/entries/key-{number % 100}"
        call(connection, "PUT", path, json.dumps({"value": number, "ttl": 600}), (200, 201))
        answer = call(connection, "GET", path, None, (200,))
        if answer is not None and answer["value"] != number:
            print(f"{path} is {answer['value']}, and was put as {number}", flush=True)
            told["failures"] += 1
        time.sleep(0.002)
    connection.close()
    tell()
tell()
