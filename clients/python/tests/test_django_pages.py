"""
Pages and fragments with Django's own decorators, middleware and tags: what is expired is made once, and no lease stays
behind.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import shelf

# The views below write here what they do.
runs: Counter[str] = Counter()
lock = threading.Lock()
gate = threading.Event()
slowness = 1.0


def ran(name: str) -> int:
    with lock:
        runs[name] += 1
        return runs[name]


def _views() -> list[Any]:
    from django.http import HttpResponse, HttpResponseServerError, StreamingHttpResponse

    class SlowToPickle(HttpResponse):
        """Time passes between Django's set of the list of headers and its set of the page."""

        def __reduce__(self) -> Any:
            time.sleep(0.3)
            return HttpResponse, (self.content,)

    from django.template import engines
    from django.template.response import TemplateResponse
    from django.urls import path
    from django.views.decorators.cache import cache_page
    from django.views.decorators.vary import vary_on_cookie, vary_on_headers

    import pantler.django

    @cache_page(60)
    def slow(request: Any) -> Any:
        number = ran("slow")
        time.sleep(slowness)
        return HttpResponse(f"slow {number}")

    @cache_page(60)
    def fails(request: Any) -> Any:
        ran("fails")
        time.sleep(0.2)
        raise RuntimeError("the view raises")

    @cache_page(60)
    def answers_500(request: Any) -> Any:
        ran("answers_500")
        time.sleep(0.2)
        return HttpResponseServerError("500")

    @cache_page(60)
    @vary_on_cookie
    def sets_cookie(request: Any) -> Any:
        ran("sets_cookie")
        time.sleep(0.2)
        response = HttpResponse("cookie")
        response.set_cookie("who", "me")
        return response

    @cache_page(60)
    @vary_on_headers("X-Tenant")
    def varies(request: Any) -> Any:
        tenant = request.headers.get("X-Tenant", "")
        number = ran("varies " + tenant)
        time.sleep(slowness)
        return HttpResponse(f"{tenant} {number}")

    @cache_page(60)
    def streams(request: Any) -> Any:
        ran("streams")
        return StreamingHttpResponse(["a", "b"])

    @cache_page(60)
    def streams_long(request: Any) -> Any:
        number = ran("streams_long")

        def parts() -> Iterator[str]:
            yield f"{number}"
            if number == 1:
                gate.wait(30)

        return StreamingHttpResponse(parts())

    async def coroutine_streams_long(request: Any) -> Any:
        number = ran("coroutine_streams_long")

        async def parts() -> AsyncIterator[str]:
            yield f"{number}"
            while number == 1 and not gate.is_set():
                await asyncio.sleep(0.01)

        return StreamingHttpResponse(parts())

    @cache_page(60)
    def rendered_later(request: Any) -> Any:
        number = ran("rendered_later")
        return TemplateResponse(request, engines["django"].from_string("{{ number }}"), {"number": number})

    @cache_page(60)
    def slow_to_pickle(request: Any) -> Any:
        response = SlowToPickle(f"page {ran('slow_to_pickle')}")
        time.sleep(0.3)
        return response

    fragment = engines["django"].from_string("{% load cache %}{% cache 60 part %}{{ make }}{% endcache %}")

    def make() -> str:
        number = ran("fragment")
        time.sleep(slowness)
        return f"part {number}"

    def with_fragment(request: Any) -> Any:
        return HttpResponse(fragment.render({"make": make}))

    nested = engines["django"].from_string(
        "{% load cache %}{% cache 60 outer %}<{% cache 60 inner %}{{ make }}{% endcache %}>{% endcache %}"
    )

    def with_nested(request: Any) -> Any:
        return HttpResponse(nested.render({"make": make}))

    failing = engines["django"].from_string("{% load cache %}{% cache 60 failing %}{{ fail }}{% endcache %}")

    def fail() -> str:
        ran("failing fragment")
        raise RuntimeError("the fragment raises")

    def with_failing_fragment(request: Any) -> Any:
        return HttpResponse(failing.render({"fail": fail}))

    async def coroutine(request: Any) -> Any:
        number = ran("coroutine")
        await asyncio.sleep(slowness)
        return HttpResponse(f"coroutine {number}")

    @cache_page(60)
    async def cached_coroutine(request: Any) -> Any:
        number = ran("cached_coroutine")
        await asyncio.sleep(slowness)
        return HttpResponse(f"cached coroutine {number}")

    @pantler.django.cache_page(60)
    async def our_coroutine(request: Any) -> Any:
        number = ran("our_coroutine")
        await asyncio.sleep(slowness)
        return HttpResponse(f"our coroutine {number}")

    @pantler.django.cache_page(60)
    async def our_template(request: Any) -> Any:
        number = ran("our_template")
        await asyncio.sleep(slowness)
        return TemplateResponse(request, engines["django"].from_string("template {{ number }}"), {"number": number})

    @pantler.django.cache_page(60)
    def our_blocking(request: Any) -> Any:
        return HttpResponse(f"our blocking {ran('our_blocking')}")

    async def low_level(request: Any) -> Any:
        from django.core.cache import cache

        async def load() -> str:
            number = ran("low_level")
            await asyncio.sleep(slowness)
            return f"low level {number}"

        return HttpResponse(await cache.aget_or_set("low-level", load, 60))

    async def takes_and_leaves(request: Any) -> Any:
        from django.core.cache import cache

        value = await cache.aget("template.cache.left")
        number = ran("takes_and_leaves")
        await asyncio.sleep(slowness)
        return HttpResponse(f"{value} {number}")

    views = [
        slow,
        slow_to_pickle,
        fails,
        answers_500,
        sets_cookie,
        varies,
        streams,
        streams_long,
        coroutine_streams_long,
        rendered_later,
        with_fragment,
        with_nested,
        with_failing_fragment,
        coroutine,
        cached_coroutine,
        our_coroutine,
        our_template,
        our_blocking,
        low_level,
        takes_and_leaves,
    ]
    return [path(f"{view.__name__}/", view) for view in views]


class Urls:
    """The URLs, as ROOT_URLCONF takes a module."""

    @property
    def urlpatterns(self) -> list[Any]:
        if not hasattr(self, "_patterns"):
            self._patterns = _views()
        return self._patterns


urls = Urls()


@pytest.fixture(scope="module", autouse=True)
def site(service: str) -> None:
    shelf.ready(service)


@pytest.fixture
def namespace(site: None, service: str) -> str:
    return f"{service}/v1/namespaces/pages-{os.getpid()}"


@pytest.fixture
def pages(namespace: str) -> Iterator[Callable[..., Any]]:
    """`with pages(MIDDLEWARE=[…], OPTIONS={…}):` is a site with the views above and an empty cache."""
    from django.test import override_settings

    def configured(OPTIONS: dict[str, Any] | None = None, **more: Any) -> Any:
        settings: dict[str, Any] = {
            "CACHES": {
                "default": {"BACKEND": "pantler.django.PantlerCache", "LOCATION": namespace, "OPTIONS": OPTIONS or {}}
            },
            "ROOT_URLCONF": urls,
            "MIDDLEWARE": [],
            "ALLOWED_HOSTS": ["*"],
            "TEMPLATES": [
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "OPTIONS": {"builtins": ["django.templatetags.cache"]},
                }
            ],
            **more,
        }
        return override_settings(**settings)

    runs.clear()
    _flush(namespace)
    yield configured
    _flush(namespace)


def _flush(namespace: str) -> None:
    request = urllib.request.Request(
        namespace + "/invalidate", b'{"all":true}', {"Content-Type": "application/json"}, method="POST"
    )
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        assert error.code == 404


def leases(namespace: str) -> list[Any]:
    """The keys of the leases that are out; of those that are on their way back within two seconds, none."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(namespace + "/leases", timeout=10) as answer:
                out = json.load(answer)["leases"]
        except urllib.error.HTTPError as error:
            assert error.code == 404
            return []
        if not out:
            return []
        time.sleep(0.02)
    return [one["key"] for one in out]


class Server:
    """Django's own threaded WSGI server."""

    def __init__(self) -> None:
        from django.core.handlers.wsgi import WSGIHandler
        from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

        class Quiet(WSGIRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
        self._server.socket.listen(512)
        self._server.set_app(WSGIHandler())
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def at_once(number: int, call: Callable[[], Any]) -> list[Any]:
    """Calls it in so many threads, which begin together."""
    barrier = threading.Barrier(number)

    def run() -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(number) as threads:
        return [one.result() for one in [threads.submit(run) for _ in range(number)]]


def client() -> Any:
    from django.test import Client

    return Client(raise_request_exception=False)


def get(path: str, **headers: str) -> tuple[int, bytes]:
    """By Django's test client, as a visitor of this thread."""
    answer = client().get(path, headers=headers)
    return answer.status_code, answer.getvalue()


@pytest.mark.parametrize("view", ["slow", "with_fragment"])
def test_two_hundred_threads_on_an_expired_page_run_its_view_once(pages: Any, namespace: str, view: str) -> None:
    with pages():
        answers = at_once(200, lambda: get(f"/{view}/"))
        assert len(set(answers)) == 1 and answers[0][0] == 200
        assert runs["slow"] + runs["fragment"] == 1
        assert leases(namespace) == []


def test_who_waits_is_not_woken_by_the_list_of_headers(pages: Any, namespace: str) -> None:
    with pages():
        assert set(at_once(20, lambda: get("/slow_to_pickle/"))) == {(200, b"page 1")}
        assert leases(namespace) == []


def test_two_hundred_visitors_of_a_threaded_server_too(pages: Any, namespace: str) -> None:
    with pages():
        server = Server()
        try:
            answers = at_once(200, lambda: server.get("/slow/"))
            assert set(answers) == {(200, b"slow 1")}
            assert leases(namespace) == []
        finally:
            server.close()


def test_the_middleware_of_a_whole_site_too(pages: Any, namespace: str) -> None:
    middleware = ["django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"]
    with pages(MIDDLEWARE=middleware, CACHE_MIDDLEWARE_SECONDS=60):
        answers = at_once(50, lambda: get("/with_fragment/"))
        assert set(answers) == {(200, b"part 1")}
        assert leases(namespace) == []


def test_a_page_that_has_expired_is_made_once_again(pages: Any, namespace: str) -> None:
    with pages():
        from django.core.cache import cache

        assert get("/slow/") == (200, b"slow 1")
        (page,) = [key for key in cache.keys("*") if "cache_page" in key]
        assert cache.delete(page)
        answers = at_once(50, lambda: get("/slow/"))
        assert set(answers) == {(200, b"slow 2")}
        assert leases(namespace) == []


def test_each_variant_of_a_page_is_made_once(pages: Any, namespace: str) -> None:
    with pages():
        turn = iter(range(10**6))

        def visit() -> Any:
            tenant = f"t{next(turn) % 3}"
            return tenant, get("/varies/", **{"x-tenant": tenant})

        get("/varies/", **{"x-tenant": "first"})
        answers = at_once(60, visit)
        assert all(answer == (200, f"{tenant} 1".encode()) for tenant, answer in answers)
        assert {name: count for name, count in runs.items()} == {
            f"varies {tenant}": 1 for tenant in ("first", "t0", "t1", "t2")
        }
        assert leases(namespace) == []


@pytest.mark.parametrize(
    ("view", "status"),
    [("fails", 500), ("answers_500", 500), ("sets_cookie", 200), ("streams", 200), ("with_failing_fragment", 500)],
)
def test_what_cannot_be_kept_is_answered_to_all_and_not_one_after_the_other(
    pages: Any, namespace: str, view: str, status: int
) -> None:
    with pages(DEBUG=False):
        began = time.monotonic()
        answers = at_once(50, lambda: get(f"/{view}/"))
        assert {answer[0] for answer in answers} == {status}
        # One after the other they would take 50 times 0.2 seconds.
        assert time.monotonic() - began < 6
        assert leases(namespace) == []


def test_a_stream_that_goes_on_keeps_nobody_waiting(pages: Any, namespace: str) -> None:
    gate.clear()
    with pages():
        server = Server()
        try:
            first = ThreadPoolExecutor(1).submit(server.get, "/streams_long/")
            while not runs["streams_long"]:
                time.sleep(0.01)
            began = time.monotonic()
            assert server.get("/streams_long/") == (200, b"2")
            assert time.monotonic() - began < 3
            assert not first.done()
            # While it streams: it holds nothing that it will not fill.
            assert leases(namespace) == []
            gate.set()
            assert first.result() == (200, b"1")
        finally:
            gate.set()
            server.close()


def test_a_view_that_fails_once_is_cached_when_it_does_not(pages: Any, namespace: str) -> None:
    with pages():
        from django.core.cache import cache

        assert get("/fails/")[0] == 500
        assert get("/slow/") == get("/slow/") == (200, b"slow 1")
        assert leases(namespace) == []
        assert [key for key in cache.keys("*") if "cache_page" in key]


def test_a_head_is_served_of_the_page_and_leaves_nothing_behind(pages: Any, namespace: str) -> None:
    with pages():
        assert client().head("/rendered_later/").status_code == 200
        assert leases(namespace) == []
        # The page of the HEAD does not stand for that of the GET.
        assert get("/rendered_later/") == (200, b"2")
        assert leases(namespace) == []
        assert client().head("/rendered_later/").status_code == 200
        assert get("/rendered_later/") == (200, b"2")
        assert runs["rendered_later"] == 2


def test_a_head_does_not_keep_the_gets_waiting(pages: Any, namespace: str) -> None:
    with pages():
        get("/slow/")
        from django.core.cache import cache

        cache.delete_pattern("*cache_page*")
        head = threading.Thread(target=lambda: client().head("/slow/"))
        head.start()
        while runs["slow"] < 2:
            time.sleep(0.01)
        got = threading.Thread(target=lambda: get("/slow/"))
        got.start()
        # While the HEAD is in its view, which takes a second.
        began = time.monotonic()
        while runs["slow"] < 3:
            assert time.monotonic() - began < 0.7
            time.sleep(0.01)
        head.join()
        got.join()
        assert leases(namespace) == []


def test_heads_that_find_their_page_leave_that_of_the_gets_to_them(pages: Any, namespace: str) -> None:
    with pages():
        assert client().head("/slow/").status_code == 200
        # Each of these asks for the page of a GET first, which is not there.
        for _ in range(3):
            assert client().head("/slow/").status_code == 200
            assert leases(namespace) == []
        assert set(at_once(10, lambda: get("/slow/"))) == {(200, b"slow 2")}


def test_fragments_within_fragments(pages: Any, namespace: str) -> None:
    with pages():
        assert set(at_once(20, lambda: get("/with_nested/"))) == {(200, b"<part 1>")}
        assert leases(namespace) == []


def test_stale_pages_are_served_while_one_visitor_makes_them_anew(pages: Any, namespace: str) -> None:
    with pages(OPTIONS={"STALE_TTL": 60}):
        from django.core.cache import cache

        assert get("/with_fragment/") == (200, b"part 1")
        (part,) = cache.keys("template.cache.*")
        cache.expire(part, 0.05)
        time.sleep(0.1)
        began = time.monotonic()
        answers = at_once(20, lambda: (get("/with_fragment/"), time.monotonic() - began))
        slow = [answer for answer, seconds in answers if seconds > 0.9]
        assert slow == [(200, b"part 2")]
        assert {answer for answer, _ in answers} == {(200, b"part 1"), (200, b"part 2")}
        assert get("/with_fragment/") == (200, b"part 2")
        assert leases(namespace) == []


def test_without_leases_each_visitor_makes_it(pages: Any, namespace: str) -> None:
    with pages(OPTIONS={"LEASES": []}):
        assert len(set(at_once(5, lambda: get("/slow/")))) == 5


def test_who_waits_longer_than_lease_wait_makes_it_too(pages: Any, namespace: str) -> None:
    with pages(OPTIONS={"LEASE_WAIT": 0.2}):
        answers = at_once(3, lambda: get("/slow/"))
        assert {answer[0] for answer in answers} == {200} and runs["slow"] == 3
        assert leases(namespace) == []


def test_a_view_that_takes_longer_than_the_lease_keeps_it(pages: Any, namespace: str) -> None:
    with pages(OPTIONS={"LEASE_TTL": 0.3}):
        assert set(at_once(10, lambda: get("/slow/"))) == {(200, b"slow 1")}
        assert leases(namespace) == []


def test_a_page_made_before_an_invalidation_is_not_kept(pages: Any, namespace: str) -> None:
    with pages():
        from django.core.cache import cache

        visitor = threading.Thread(target=lambda: get("/with_fragment/"))
        visitor.start()
        while not runs["fragment"]:
            time.sleep(0.01)
        # As a signal's receiver would do it in another process.
        cache.client.flush()
        visitor.join()
        assert cache.keys("template.cache.*") == []
        assert get("/with_fragment/") == (200, b"part 2")


def test_the_thread_of_a_command_that_gave_up_a_fragment_is_not_stopped_by_its_own_lease(
    pages: Any, namespace: str
) -> None:
    with pages():
        from django.core.cache import cache

        # No request ends here: what a task queue's worker does that renders a mail and fails.
        assert cache.get("template.cache.mail") is None
        began = time.monotonic()
        assert cache.get("template.cache.mail") is None
        assert time.monotonic() - began < 1
        cache.set("template.cache.mail", "text", 60)
        assert cache.get("template.cache.mail") == "text"
        assert leases(namespace) == []


def test_a_thread_that_ended_without_the_end_of_a_request_holds_nothing(pages: Any, namespace: str) -> None:
    with pages():
        from django.core.cache import cache

        thread = threading.Thread(target=lambda: cache.get("template.cache.thread"))
        thread.start()
        thread.join()
        assert leases(namespace) == []


def test_after_a_delete_the_same_request_can_set(pages: Any, namespace: str) -> None:
    with pages():
        from django.core.cache import cache

        for undo in (
            lambda: cache.delete("template.cache.a"),
            lambda: cache.delete_many(["template.cache.a"]),
            cache.clear,
            lambda: cache.delete_pattern("template.*"),
            lambda: cache.set("template.cache.a", 1, 0),
            lambda: cache.touch("template.cache.a", 0),
        ):
            assert cache.get("template.cache.a") is None
            undo()
            assert cache.set("template.cache.a", "value", 60)
            assert cache.get("template.cache.a") == "value"
            cache.delete("template.cache.a")
        assert leases(namespace) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda cache, key: cache.incr_version(key),
        lambda cache, key: cache.delete_pattern("*late.cache.*"),
        lambda cache, key: cache.set_many({key: "x" * (65 << 20)}),
        lambda cache, key: cache.set(key, "value", tags=[""]),
        lambda cache, key: cache.set(key, "value", stale_ttl=-1),
        lambda cache, key: cache.get_or_set(key, lambda: "value", tags=[""]),
        lambda cache, key: cache.set(key, "value", xx=True),
        lambda cache, key: cache.incr(key),
    ],
)
def test_what_fails_under_a_lease_leaves_it_to_be_given_up(pages: Any, namespace: str, call: Any) -> None:
    with pages():
        from django.core.cache import cache

        key = "template.cache.fails"
        assert cache.get(key) is None
        try:
            call(cache, key)
        except ValueError:
            pass
        cache.close()
        # Or else others would wait until it ends by itself.
        assert leases(namespace) == []
        assert cache.get(key) is None


def test_what_is_kept_back_is_there_for_its_own_request(pages: Any, namespace: str) -> None:
    key = "views.decorators.cache.cache_header..abc"
    with pages():
        from django.core.cache import cache

        for look in (
            lambda: cache.get(key),
            lambda: cache.get_many([key]).get(key),
            lambda: cache.has_key(key) and ["A"],
            lambda: cache.ttl(key) and ["A"],
        ):
            assert cache.get(key) is None
            cache.set(key, ["A"], 60)
            assert look() == ["A"]
            assert not cache.add(key, ["B"])
            cache.delete(key)
            assert cache.get(key) is None
            cache.delete(key)
        assert cache.get(key) is None
        cache.set(key, ["A"], 60)
        cache.close()
        assert cache.get(key) == ["A"]
        assert leases(namespace) == []


# Under asyncio


class Visitor:
    """One ASGI request, as a server makes it."""

    def __init__(self, application: Any, path: str, method: str = "GET") -> None:
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
        }
        self._application = application
        self.left: asyncio.Event = asyncio.Event()
        self.status = 0
        self.body = b""
        self._sent = False

    async def _receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")

    async def visit(self) -> tuple[int, bytes]:
        await self._application(self.scope, self._receive, self._send)
        return self.status, self.body


def asgi(
    path: str, number: int, leave: bool = False, until: Callable[[], bool] = lambda: True
) -> list[tuple[int, bytes]]:
    from django.core.handlers.asgi import ASGIHandler

    async def all_of_them() -> list[tuple[int, bytes]]:
        application = ASGIHandler()
        visitors = [Visitor(application, path) for _ in range(number)]
        visits = asyncio.gather(*(visitor.visit() for visitor in visitors))
        if leave:
            while not until():
                await asyncio.sleep(0.01)
            for visitor in visitors:
                visitor.left.set()
        answers = await visits
        # As in a server, whose loop goes on: what came too late for its visitor is given back, one after the other where
        # several have left. Nobody's task waits for that, so the loop goes on until nothing has come for a while.
        quiet = 0
        while quiet < (10 if leave else 1):
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=20)
                quiet = 0
            else:
                await asyncio.sleep(0.02)
                quiet += 1
        return answers

    return asyncio.run(all_of_them())


SITE_WIDE = ["django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"]


@pytest.mark.parametrize("view", ["coroutine", "with_fragment"])
def test_the_middleware_under_asgi_runs_a_view_once(pages: Any, namespace: str, view: str) -> None:
    with pages(MIDDLEWARE=SITE_WIDE, CACHE_MIDDLEWARE_SECONDS=60):
        answers = asgi(f"/{view}/", 50)
        assert len(set(answers)) == 1 and answers[0][0] == 200
        assert runs[view] + runs["fragment"] == 1
        assert leases(namespace) == []


def test_a_stream_that_goes_on_under_asgi_keeps_nobody_waiting(pages: Any, namespace: str) -> None:
    from django.core.handlers.asgi import ASGIHandler

    async def visits() -> None:
        application = ASGIHandler()
        path = "/coroutine_streams_long/"
        first = asyncio.create_task(Visitor(application, path).visit())
        while not runs["coroutine_streams_long"]:
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(Visitor(application, path).visit(), 3) == (200, b"2")
        assert not first.done()
        assert await asyncio.to_thread(leases, namespace) == []
        gate.set()
        assert await first == (200, b"1")

    gate.clear()
    middleware = ["django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"]
    with pages(MIDDLEWARE=middleware):
        try:
            asyncio.run(visits())
        finally:
            gate.set()


def test_a_blocking_view_under_asgi_runs_once(pages: Any, namespace: str) -> None:
    with pages():
        assert set(asgi("/slow/", 50)) == {(200, b"slow 1")}
        assert leases(namespace) == []


def test_loads_that_fail_do_not_fail_one_after_the_other(pages: Any, namespace: str) -> None:
    with pages():
        from django.core.cache import cache

        is_well = False

        def load() -> str:
            ran("load")
            time.sleep(0.3)
            if not is_well:
                raise RuntimeError("the source is away")
            return "value"

        async def aload() -> str:
            ran("load")
            await asyncio.sleep(0.3)
            raise RuntimeError("the source is away")

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(
                *(cache.aget_or_set("coroutines", aload, 60) for _ in range(30)), return_exceptions=True
            )

        def fails() -> bool:
            with pytest.raises(RuntimeError, match="source"):
                cache.get_or_set("key", load, 60)
            return True

        began = time.monotonic()
        assert all(at_once(30, fails)) and runs["load"] == 30
        assert all(isinstance(one, RuntimeError) for one in asyncio.run(all_of_them()))
        assert time.monotonic() - began < 4
        # As soon as it is well again, one who has it keeps it.
        is_well = True
        assert cache.get_or_set("key", load, 60) == "value" == cache.get("key")
        assert leases(namespace) == []


def test_a_lease_does_not_need_a_thread(pages: Any, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pantler.django import _leases

    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with pages():
        from django.core.cache import cache

        monkeypatch.setattr(_leases._orphans, "_thread", None)
        monkeypatch.setattr(threading, "Thread", NoThread)
        assert cache.get("template.cache.no-thread", "default") == "default"
        assert cache.set("template.cache.no-thread", 1)
        assert leases(namespace) == []


def test_get_or_set_of_coroutines_runs_once(pages: Any, namespace: str) -> None:
    with pages():
        assert set(asgi("/low_level/", 200)) == {(200, b"low level 1")}
        assert leases(namespace) == []


def test_djangos_page_decorator_around_a_coroutine_never_stops_the_event_loop(pages: Any, namespace: str) -> None:
    from django import VERSION

    if VERSION < (5, 0):
        pytest.skip("the decorator takes no coroutines")
    with pages():
        began = time.monotonic()
        answers = asgi("/cached_coroutine/", 20)
        assert {answer[0] for answer in answers} == {200}
        assert time.monotonic() - began < 4
        assert leases(namespace) == []
        count = runs["cached_coroutine"]
        assert asgi("/cached_coroutine/", 20)[0][0] == 200 and runs["cached_coroutine"] == count


def test_a_blocking_get_in_an_event_loop_waits_for_nobody(pages: Any, namespace: str) -> None:
    with pages():
        from django.core.cache import cache

        taken, done = threading.Event(), threading.Event()

        def holder() -> None:
            cache.get("template.cache.k")
            taken.set()
            done.wait(20)
            cache.close()

        thread = threading.Thread(target=holder)
        thread.start()
        taken.wait(20)

        async def blocking() -> None:
            began = time.monotonic()
            assert cache.get("template.cache.k", "default") == "default"
            assert cache.get_or_set("template.cache.k", "made") == "made"
            assert time.monotonic() - began < 2

        asyncio.run(blocking())
        done.set()
        thread.join()
        assert leases(namespace) == []


@pytest.mark.parametrize("call", ["aget", "aget_or_set"])
def test_a_lease_that_comes_when_its_caller_has_been_cancelled_is_given_up(site: None, call: str) -> None:
    """By a service that lets the caller wait, which is cancelled meanwhile, and gives it the lease then."""
    from pantler.django import PantlerCache

    async def run() -> None:
        asked, given_up, may_answer = asyncio.Event(), asyncio.Event(), asyncio.Event()
        token = "A" * 21 + "Q"

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    length = [
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length:")
                    ]
                    if length:
                        await reader.readexactly(length[0])
                    body = b"{}"
                    if head.startswith(b"POST "):
                        asked.set()
                        await may_answer.wait()
                        body = b'{"lease":{"token":"%b","expires_at":"2099-01-01T00:00:00.000Z"}}' % token.encode()
                        start = b"HTTP/1.1 201 Created\r\n"
                    elif head.startswith(b"DELETE "):
                        assert b"lease: " + token.lower().encode() in head.lower() and b"peek" not in head
                        given_up.set()
                        start, body = b"HTTP/1.1 204 No Content\r\n", b""
                    else:
                        start = b"HTTP/1.1 404 Not Found\r\n"
                    kind = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body) if body else b""
                    writer.write(start + kind + b"\r\n" + body)
            except asyncio.IncompleteReadError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        cache = PantlerCache(f"http://127.0.0.1:{port}/v1/namespaces/late", {})
        arguments = ("template.cache.k",) if call == "aget" else ("k", "value", 60)
        task = asyncio.ensure_future(getattr(cache, call)(*arguments))
        await asyncio.wait_for(asked.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_answer.set()
        await asyncio.wait_for(given_up.wait(), 10)
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("view", "body"),
    [("our_coroutine", b"our coroutine 1"), ("our_template", b"template 1"), ("our_blocking", b"our blocking 1")],
)
def test_our_page_decorator_runs_a_coroutine_once(pages: Any, namespace: str, view: str, body: bytes) -> None:
    with pages():
        assert set(asgi(f"/{view}/", 50)) == {(200, body)}
        assert set(asgi(f"/{view}/", 5)) == {(200, body)}
        assert leases(namespace) == []


@pytest.mark.parametrize("middleware", [[], SITE_WIDE])
@pytest.mark.parametrize("view", ["takes_and_leaves", "coroutine", "low_level"])
def test_visitors_who_leave_hold_nothing(pages: Any, namespace: str, view: str, middleware: list[str]) -> None:
    with pages(MIDDLEWARE=middleware, CACHE_MIDDLEWARE_SECONDS=60):
        asgi(f"/{view}/", 20, leave=True, until=lambda: runs[view] > 0)
        assert leases(namespace) == []
