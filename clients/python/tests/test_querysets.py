"""`cached_queryset`: what it keeps, under which key, and what makes it read again."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import io
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import shelf


@pytest.fixture(scope="module", autouse=True)
def site(service: str) -> None:
    shelf.ready(service)


@pytest.fixture(autouse=True)
def empty(site: None) -> Iterator[None]:
    from django.core.cache import caches
    from django.db import connections

    from pantler.django import querysets
    from shelf.models import Author, Book, Label, Note, OddTable, Publisher

    for alias in ("default", "second"):
        for model in (Note, Book, Author, Publisher, Label, OddTable):
            model.objects.using(alias).all().delete()
    querysets._owed.clear()
    caches["default"].clear()
    caches["locmem"].clear()
    yield
    connections.close_all()


@pytest.fixture(params=["default", "locmem"])
def cache(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def queries(using: str = "default") -> Any:
    """`with queries() as found:` then `len(found)` is how many the block has sent."""
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    return CaptureQueriesContext(connections[using])


def asks(call: Callable[[], Any]) -> int:
    with queries() as found:
        call()
    return len(found)


def in_thread(call: Callable[[], Any]) -> Any:
    """As another worker would: with a connection of its own."""

    def run() -> Any:
        from django.db import connections

        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(run).result(timeout=30)


def books(number: int = 3) -> list[Any]:
    from shelf.models import Author, Book, Label, Publisher

    author = Author.objects.create(name="Ann")
    publisher = Publisher.objects.create(name="House")
    labels = [Label.objects.create(name=name) for name in ("red", "blue")]
    made = []
    for index in range(number):
        book = Book.objects.create(title=f"Book {index}", author=author, publisher=publisher)
        book.labels.set(labels)
        made.append(book)
    return made


# Rows


def test_a_second_call_asks_the_database_nothing(cache: str) -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book

    books()
    first = cached_queryset(Book.objects.order_by("pk"), 60, cache=cache)
    assert asks(lambda: cached_queryset(Book.objects.order_by("pk"), 60, cache=cache)) == 0
    second = cached_queryset(Book.objects.order_by("pk"), 60, cache=cache)
    assert [book.title for book in second] == ["Book 0", "Book 1", "Book 2"]
    assert first == second and first[0] is not second[0]
    assert second[0]._state.db == "default" and not second[0]._state.adding


def test_select_related_and_prefetch_related_are_inside(cache: str) -> None:
    from django.db.models import Prefetch

    from pantler.django import cached_queryset
    from shelf.models import Book, Label

    books()
    for rows in (
        Book.objects.select_related("author", "publisher").prefetch_related("labels"),
        Book.objects.select_related("author", "publisher").prefetch_related(
            Prefetch("labels", Label.objects.filter(name="red"), to_attr="reds")
        ),
    ):
        cached_queryset(rows, 60, cache=cache)
        with queries() as found:
            for book in cached_queryset(rows, 60, cache=cache):
                assert book.author.name == "Ann" and book.publisher.name == "House"
                assert {label.name for label in getattr(book, "reds", None) or book.labels.all()} in (
                    {"red"},
                    {"red", "blue"},
                )
        assert len(found) == 0


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows.values("title", "author__name"),
        lambda rows: rows.values_list("title", "price"),
        lambda rows: rows.values_list("title", flat=True),
        lambda rows: rows.values_list("title", "uid", named=True),
        lambda rows: rows.only("title"),
        lambda rows: rows.defer("title"),
        lambda rows: rows.distinct(),
        lambda rows: rows.reverse()[:2],
        lambda rows: rows[1:2],
        lambda rows: rows.order_by().union(rows.order_by().filter(title="Book 1")),
        lambda rows: rows.dates("printed", "year"),
        lambda rows: rows.none(),
        lambda rows: rows.filter(pk__in=[]),
        lambda rows: rows.filter(title="nobody wrote it"),
        lambda rows: rows.model.objects.raw("SELECT * FROM shelf_book WHERE title = %s", ["Book 1"]),
        lambda rows: rows.extra(select={"twice": "price * 2"}),
    ],
)
def test_rows_of_every_form_come_back_as_they_are(form: Callable[[Any], Any], cache: str) -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book

    books()
    rows = Book.objects.order_by("pk")
    expected = list(form(rows))
    assert list(cached_queryset(form(rows), 60, cache=cache)) == expected
    again = []
    assert asks(lambda: again.extend(cached_queryset(form(rows), 60, cache=cache))) == 0
    assert again == expected
    assert [type(row) for row in again] == [type(row) for row in expected] or "Row" in str(type(again[0]))


def test_annotations_and_deferred_fields_come_back(cache: str) -> None:
    from django.db.models import Count

    from pantler.django import cached_queryset
    from shelf.models import Book

    books(1)
    for _ in range(2):
        book = cached_queryset(Book.objects.only("title").annotate(number=Count("labels")), 60, cache=cache)[0]
        assert book.number == 2 and book.get_deferred_fields() >= {"price", "uid"}
    assert asks(lambda: book.price) == 1


def test_an_empty_result_is_kept_too(cache: str) -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book

    assert cached_queryset(Book.objects.all(), 60, cache=cache) == []
    assert asks(lambda: cached_queryset(Book.objects.all(), 60, cache=cache)) == 0
    books(1)
    assert len(cached_queryset(Book.objects.all(), 60, cache=cache)) == 1


def test_the_caller_keeps_its_own_queryset_and_objects(cache: str) -> None:
    from pantler.django import cached_queryset

    author = books(2)[0].author
    author.name = "changed here and not saved"
    for _ in range(2):
        rows = author.books.order_by("pk")
        found = cached_queryset(rows, 60, cache=cache)
        assert rows._result_cache is None
        # As Django has it: the rows of `author.books` point to that very author.
        assert all(book.author is author for book in found)
    # And what was kept has no author of somebody's in it.
    from shelf.models import Author

    other = Author.objects.get(pk=author.pk)
    assert cached_queryset(other.books.order_by("pk"), 60, cache=cache)[0].author.name == "Ann"


def test_what_locks_rows_and_what_is_no_queryset_is_refused() -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book

    with pytest.raises(ValueError, match="select_for_update"):
        cached_queryset(Book.objects.select_for_update(), 60)
    with pytest.raises(TypeError, match="manager"):
        cached_queryset(Book.objects, 60)
    with pytest.raises(TypeError, match="sequence of tags"):
        cached_queryset(Book.objects.all(), 60, "one-tag")


# Keys


def key(rows: Any) -> str | None:
    from pantler.django.querysets import _Query

    return _Query(rows).key()


def test_different_queries_have_different_keys() -> None:
    from django.contrib.contenttypes.prefetch import GenericPrefetch
    from django.db.models import Count, Exists, OuterRef, Prefetch

    from shelf.models import Author, Book, CheapBook, Label, Note

    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    some = Book.objects.all()
    rows = [
        some,
        some.filter(title="1"),
        some.filter(title="1, 2"),
        some.filter(pk=1),
        some.filter(pk=2),
        some.filter(pk__in=[1, 2]),
        some.filter(pk__in=[12]),
        some.filter(title__in=["a", "b"]),
        some.filter(title__in=["a,b"]),
        some.filter(title__in=["a'", "b"]),
        some.filter(title="None"),
        some.filter(printed=None),
        some.filter(printed=moment),
        some.filter(printed=moment + datetime.timedelta(microseconds=1)),
        some.filter(price=decimal.Decimal("1.10")),
        some.filter(uid=uuid.UUID(int=1)),
        some.filter(uid=uuid.UUID(int=2)),
        some.filter(cover=b"1"),
        some.filter(cover=b"2"),
        some.filter(facts={"a": 1}),
        some.filter(facts={"a": "1"}),
        some.filter(facts__a=1),
        some.filter(title="\ud800"),
        some.filter(title="\x00"),
        some.order_by("pk"),
        some.order_by("-pk"),
        some[:1],
        some[1:2],
        some.distinct(),
        some.only("title"),
        some.defer("title"),
        some.values("title"),
        some.values_list("title"),
        some.values_list("title", flat=True),
        some.values_list("title", named=True),
        some.dates("printed", "year"),
        some.select_related("author"),
        some.select_related("publisher"),
        some.annotate(n=Count("labels")),
        some.using("second"),
        some.prefetch_related("labels"),
        some.prefetch_related("labels", "notes"),
        some.prefetch_related(Prefetch("labels", to_attr="mine")),
        some.prefetch_related(Prefetch("labels", Label.objects.filter(name="a"))),
        some.prefetch_related(Prefetch("labels", Label.objects.filter(name="b"))),
        some.prefetch_related(Prefetch("labels", Label.objects.filter(name="b").prefetch_related("books"))),
        some.prefetch_related(Prefetch("labels", Label.objects.none())),
        CheapBook.objects.all(),
        Author.objects.all(),
        some.filter(Exists(Note.objects.filter(object_id=OuterRef("pk")))),
        Book.objects.raw("SELECT * FROM shelf_book"),
        Book.objects.raw("SELECT * FROM shelf_book WHERE id = %s", [1]),
        Book.objects.raw("SELECT * FROM shelf_book WHERE id = %(id)s", {"id": 1}),
        Note.objects.prefetch_related(GenericPrefetch("about", [Book.objects.all()])),
        Note.objects.prefetch_related(GenericPrefetch("about", [Author.objects.all()])),
    ]
    keys = [key(each) for each in rows]
    assert None not in keys
    assert len(set(keys)) == len(keys), [
        rows[index].query for index, each in enumerate(keys) if keys.index(each) != index
    ]
    assert keys == [key(each) for each in rows]


def test_a_queryset_whose_prefetches_nest_has_one_key_however_it_was_put_together() -> None:
    from shelf.models import Book

    assert key(Book.objects.filter(pk=1).filter(title="a")) == key(Book.objects.filter(pk=1, title="a"))


def test_what_cannot_be_told_apart_is_read_and_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book

    class Odd:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __str__(self) -> str:
            return "Book 1"

    books()
    from pantler.django.querysets import _feed, _Unnamed

    import hashlib

    with pytest.raises(_Unnamed, match="Odd"):
        _feed(hashlib.blake2b(), Odd())
    rows = Book.objects.raw("SELECT * FROM shelf_book WHERE title = %s", [_Text(Odd())])
    assert len(cached_queryset(rows, 60)) == 1
    assert "not kept" in caplog.text


class _Text(str):
    """A text for the driver, whose pickle fails."""

    def __new__(cls, odd: Any) -> _Text:
        return super().__new__(cls, str(odd))

    def encode(self, *arguments: Any) -> bytes:  # type: ignore[override]
        from pantler.django.querysets import _Unnamed

        raise _Unnamed("a parameter of type Odd cannot be told from others")


# Invalidation


def changes() -> list[tuple[str, Callable[[], Any]]]:
    from shelf.models import Author, Book, CheapBook, Label, Novel, Publisher

    return [
        ("a save", lambda: Book.objects.first().save()),
        ("a new row", lambda: Book.objects.create(title="new", author=Author.objects.first())),
        ("a delete", lambda: Book.objects.first().delete()),
        ("a delete of a queryset", lambda: Book.objects.filter(title="Book 1").delete()),
        ("a delete that cascades", lambda: Author.objects.first().delete()),
        ("a save of a joined row", lambda: Author.objects.first().save()),
        ("a save of another joined row", lambda: Publisher.objects.first().save()),
        ("a save of a prefetched row", lambda: Label.objects.first().save()),
        ("a relation that is added", lambda: Book.objects.first().labels.add(Label.objects.create(name="new"))),
        ("a relation that is removed", lambda: Book.objects.first().labels.remove(Label.objects.first())),
        ("relations that are cleared", lambda: Book.objects.first().labels.clear()),
        ("a relation from its other side", lambda: Label.objects.first().books.clear()),
        ("a save of a proxy", lambda: CheapBook.objects.first().save()),
        ("a save of a child", lambda: Novel.objects.create(title="novel", author=Author.objects.first())),
        ("a save by another thread", lambda: in_thread(lambda: Book.objects.first().save())),
    ]


@pytest.mark.parametrize("number", range(15))
def test_a_change_of_what_was_read_makes_it_read_again(number: int, cache: str) -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book

    books()
    rows = Book.objects.select_related("author", "publisher").prefetch_related("labels")
    cached_queryset(rows, 60, cache=cache)
    assert asks(lambda: cached_queryset(rows, 60, cache=cache)) == 0
    name, change = changes()[number]
    change()
    assert asks(lambda: cached_queryset(rows, 60, cache=cache)) > 0, name
    assert asks(lambda: cached_queryset(rows, 60, cache=cache)) == 0, name


def test_changes_of_others_leave_it(cache: str) -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book, Label, Publisher

    books()
    rows = Book.objects.select_related("author")
    cached_queryset(rows, 60, cache=cache)
    Publisher.objects.first().save()
    Label.objects.first().save()
    assert asks(lambda: cached_queryset(rows, 60, cache=cache)) == 0


def test_subqueries_unions_and_generic_relations_count_as_read(cache: str) -> None:
    from django.contrib.contenttypes.models import ContentType
    from django.db.models import Exists, OuterRef, Subquery

    from pantler.django import cached_queryset
    from shelf.models import Author, Book, Label, Note, OddTable, Publisher

    books(1)
    OddTable.objects.create(name="odd")
    note = Note.objects.create(text="a", about=Book.objects.first())
    label = Label.objects.first()
    for rows, changed in (
        (Author.objects.filter(pk__in=Book.objects.values("author")), Book.objects.first()),
        (Author.objects.filter(Exists(Book.objects.filter(author=OuterRef("pk"), labels__name="red"))), label),
        (
            Author.objects.annotate(
                house=Subquery(Book.objects.filter(author=OuterRef("pk")).values("publisher__name")[:1])
            ),
            Publisher.objects.first(),
        ),
        (Author.objects.values("name").union(Publisher.objects.values("name")), Publisher.objects.first()),
        (Note.objects.prefetch_related("about"), Book.objects.first()),
        (Book.objects.prefetch_related("notes"), note),
        (Author.objects.prefetch_related("books__labels"), label),
        (Author.objects.extra(where=["id IN (SELECT author_id FROM shelf_book)"]), Book.objects.first()),
        (
            Author.objects.raw("SELECT * FROM shelf_author WHERE id IN (SELECT author_id FROM shelf_book)"),
            Book.objects.first(),
        ),
        (OddTable.objects.all(), OddTable.objects.first()),
    ):
        ContentType.objects.clear_cache()
        cached_queryset(rows, 60, cache=cache)
        assert asks(lambda: cached_queryset(rows, 60, cache=cache)) == 0, rows
        changed.save()
        assert asks(lambda: cached_queryset(rows, 60, cache=cache)) > 0, rows


def test_a_child_is_invalidated_by_its_parent(cache: str) -> None:
    from pantler.django import cached_queryset
    from shelf.models import Author, Book, Novel

    Novel.objects.create(title="first", author=Author.objects.create(name="Ann"))
    cached_queryset(Novel.objects.all(), 60, cache=cache)
    book = Book.objects.get()
    book.title = "second"
    book.save()
    assert cached_queryset(Novel.objects.all(), 60, cache=cache)[0].title == "second"


def test_bulk_changes_are_told_by_a_call(cache: str) -> None:
    from pantler.django import cached_queryset, invalidate_models
    from shelf.models import Book

    books(1)
    cached_queryset(Book.objects.all(), 60, cache=cache)
    Book.objects.update(title="changed")
    # Django sends no signal for it.
    assert cached_queryset(Book.objects.all(), 60, cache=cache)[0].title == "Book 0"
    invalidate_models(Book)
    assert cached_queryset(Book.objects.all(), 60, cache=cache)[0].title == "changed"
    with pytest.raises(TypeError, match="takes models"):
        invalidate_models("shelf.Book")  # type: ignore[arg-type]


def test_tags_of_ones_own(cache: str) -> None:
    from django.core.cache import caches

    from pantler.django import cached_queryset, invalidate_on_change
    from shelf.models import Author, Book, OddTable

    books(1)
    cached_queryset(Book.objects.all(), 60, ["front-page"], cache=cache)
    invalidate_on_change(OddTable, tags=lambda odd: [odd.name])
    OddTable.objects.create(name="another page")
    assert asks(lambda: cached_queryset(Book.objects.all(), 60, ["front-page"], cache=cache)) == 0
    OddTable.objects.create(name="front-page")
    assert asks(lambda: cached_queryset(Book.objects.all(), 60, ["front-page"], cache=cache)) == 1
    if cache == "default":
        # Values of the low-level API go by the same tags.
        caches[cache].set("a", 1, 60, tags=["shelf.author"])
        Author.objects.first().save()
        assert caches[cache].get("a") is None
    with pytest.raises(TypeError, match="sequence of tags"):
        invalidate_on_change(OddTable, tags="one-tag")


def test_it_decorates_models() -> None:
    from django.core.cache import caches

    from pantler.django import invalidate_on_change
    from shelf.models import OddTable

    assert invalidate_on_change(OddTable) is OddTable
    assert invalidate_on_change(tags=["decorated"])(OddTable) is OddTable
    caches["default"].set("a", 1, 60, tags=["decorated"])
    OddTable.objects.create(name="any")
    assert caches["default"].get("a") is None


def test_a_decorator_follows_a_relation_whose_table_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the time of the decorator the models that it relates to may not be read."""
    from types import SimpleNamespace

    from django.db.models.signals import m2m_changed

    from pantler.django import querysets
    from shelf.models import Book

    connected: list[Any] = []
    monkeypatch.setattr(m2m_changed, "connect", lambda receiver, sender, dispatch_uid: connected.append(sender))
    field = Book._meta.get_field("labels")
    monkeypatch.setattr(field, "remote_field", SimpleNamespace(through=None))
    querysets._connect(Book)
    # Without a sender it would be the signals of all models.
    assert connected == [Book, "shelf.Book_labels"]


def test_models_to_follow_are_a_setting() -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from pantler.django import querysets

    with override_settings(PANTLER_INVALIDATE="shelf"), pytest.raises(ImproperlyConfigured, match="__all__"):
        querysets.connect()
    with pytest.MonkeyPatch.context() as patch:
        connected: list[str] = []
        patch.setattr(querysets, "_connect", lambda model: connected.append(model._meta.label))
        patch.setattr(querysets, "_followed", set())
        for wanted, expected in (
            (["shelf.Book", "contenttypes"], {"shelf.Book", "contenttypes.ContentType"}),
            ([], set()),
        ):
            connected.clear()
            with override_settings(PANTLER_INVALIDATE=wanted):
                querysets.connect()
            assert set(connected) == expected
        connected.clear()
        querysets.connect()
        assert "shelf.Book_labels" in connected and "sessions.Session" not in connected


# Transactions


def test_nobody_sees_what_is_not_committed_and_everybody_what_is(cache: str) -> None:
    from django.db import transaction

    from pantler.django import cached_queryset
    from shelf.models import Book

    book = books(1)[0]
    rows = Book.objects.all()

    def title() -> Any:
        return cached_queryset(rows, 60, cache=cache)[0].title

    assert title() == "Book 0"
    with transaction.atomic():
        book.title = "in the transaction"
        book.save()
        # Whoever has changed it sees it, from the database; others do not.
        assert title() == "in the transaction"
        assert in_thread(title) == "Book 0"
    assert title() == "in the transaction" and in_thread(title) == "in the transaction"


def test_what_is_rolled_back_was_never_kept(cache: str) -> None:
    from django.db import transaction

    from pantler.django import cached_queryset
    from shelf.models import Book

    book = books(1)[0]
    rows = Book.objects.all()
    with pytest.raises(RuntimeError):
        with transaction.atomic():
            book.title = "in the transaction"
            book.save()
            assert cached_queryset(rows, 60, cache=cache)[0].title == "in the transaction"
            raise RuntimeError
    assert cached_queryset(rows, 60, cache=cache)[0].title == "Book 0"
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            with transaction.atomic():
                book.save()
                raise RuntimeError
        # The savepoint is gone, and with it the change: what was kept is right.
        assert asks(lambda: cached_queryset(rows, 60, cache=cache)) == 0


def test_many_changes_of_a_transaction_are_one_invalidation(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import transaction

    from pantler.django import querysets
    from shelf.models import Author, Book

    books(1)
    told: list[Any] = []
    monkeypatch.setattr(querysets, "_invalidate", lambda tags: told.append(set(tags)))
    with transaction.atomic():
        for _ in range(50):
            Book.objects.first().save()
        Author.objects.first().save()
        assert told == []
    assert told == [{"shelf.book", "shelf.author"}]


def test_rows_that_were_read_before_a_change_never_land_after_it(cache: str) -> None:
    """A reader that stops between its query and its put, while the row changes and is invalidated."""
    from pantler.django import cached_queryset
    from pantler.django.querysets import _Query
    from shelf.models import Book

    book = books(1)[0]
    has_read, may_go_on = threading.Event(), threading.Event()
    load = _Query.load

    def slow(self: Any) -> Any:
        rows = load(self)
        has_read.set()
        assert may_go_on.wait(20)
        return rows

    def read() -> Any:
        return cached_queryset(Book.objects.all(), 60, cache=cache)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as threads:
        patch.setattr(_Query, "load", slow)
        reader = threads.submit(read)
        assert has_read.wait(20)
        book.title = "changed"
        book.save()
        may_go_on.set()
        assert reader.result(20)[0].title == "Book 0"
        patch.undo()
        threads.submit(__import__("django.db", fromlist=["connections"]).connections.close_all).result(20)
    assert read()[0].title == "changed"


def test_transactions_that_keep_nothing_do_not_wait_for_each_other() -> None:
    from django.db import connection, transaction

    from pantler.django import cached_queryset
    from shelf.models import Book

    books()
    is_reading, may_read = threading.Event(), threading.Event()

    def slowly(execute: Any, *arguments: Any) -> Any:
        is_reading.set()
        may_read.wait(30)
        return execute(*arguments)

    def first() -> int:
        with transaction.atomic(), connection.execute_wrapper(slowly):
            return len(cached_queryset(Book.objects.order_by("pk"), 60))

    def second() -> int:
        with transaction.atomic():
            return len(cached_queryset(Book.objects.order_by("pk"), 60))

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(in_thread, first)
        assert is_reading.wait(10)
        try:
            began = time.monotonic()
            assert second() == 3
            assert time.monotonic() - began < 3 and not slow.done()
        finally:
            may_read.set()
        assert slow.result() == 3
    # What others have kept is served there, without a query.
    cached_queryset(Book.objects.order_by("pk"), 60)
    with transaction.atomic():
        assert asks(lambda: cached_queryset(Book.objects.order_by("pk"), 60)) == 0


def test_a_transaction_that_reads_the_past_keeps_nothing(cache: str) -> None:
    """
    SQLite goes on showing a transaction what was there at its first query, whatever others have committed and
    invalidated since.
    """
    from django.db import transaction

    from pantler.django import cached_queryset
    from shelf.models import Author, Book

    book = books(1)[0]

    def change() -> None:
        Book.objects.filter(pk=book.pk).get().delete()

    with transaction.atomic():
        assert Author.objects.count() == 1
        in_thread(change)
        # What this transaction sees is right for it, and for nobody else.
        assert len(cached_queryset(Book.objects.all(), 60, cache=cache)) == 1
    assert cached_queryset(Book.objects.all(), 60, cache=cache) == []


# One loader, faults, and other ways to call


def test_one_reader_asks_the_database_and_the_others_wait() -> None:
    from pantler.django import cached_queryset
    from pantler.django.querysets import _Query
    from shelf.models import Book

    books()
    loads: list[int] = []
    all_ask = threading.Barrier(20)
    load = _Query.load

    def counted(self: Any) -> Any:
        loads.append(1)
        # Long enough that all others have asked meanwhile.
        threading.Event().wait(0.3)
        return load(self)

    def read(_: int) -> int:
        from django.db import connections

        all_ask.wait(20)
        try:
            return len(cached_queryset(Book.objects.all(), 60))
        finally:
            connections.close_all()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(20) as threads:
        patch.setattr(_Query, "load", counted)
        assert list(threads.map(read, range(20))) == [3] * 20
    assert len(loads) == 1


def test_a_service_that_is_away_makes_no_change_fail_and_is_told_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pantler.django import cached_queryset, querysets
    from pantler.errors import Unavailable
    from shelf.models import Book

    book = books(1)[0]
    cached_queryset(Book.objects.all(), 60)
    book.title = "changed while it was away"
    with monkeypatch.context() as away:

        def refuse(self: Any, tags: Any) -> None:
            raise Unavailable("nobody there")

        away.setattr(querysets._Tagged, "invalidate", refuse)
        book.save()
        assert "was not told" in caplog.text
        # Not a row of a cache that does not know.
        assert cached_queryset(Book.objects.all(), 60)[0].title == "changed while it was away"
    assert cached_queryset(Book.objects.all(), 60)[0].title == "changed while it was away"
    assert "default" not in querysets._owed
    assert asks(lambda: cached_queryset(Book.objects.all(), 60)) == 0


def test_a_dummy_cache_keeps_nothing_and_fails_nothing() -> None:
    from pantler.django import cached_queryset
    from shelf.models import Book

    books(1)
    for _ in range(2):
        assert asks(lambda: cached_queryset(Book.objects.all(), 60, cache="dummy")) == 1


def test_coroutines_ask_the_same_entries(cache: str) -> None:
    from pantler.django import acached_queryset, cached_queryset
    from shelf.models import Book

    books()
    rows = Book.objects.select_related("author").prefetch_related("labels").order_by("pk")

    async def ask() -> list[Any]:
        return await acached_queryset(rows, 60, cache=cache)

    assert [book.title for book in asyncio.run(ask())] == ["Book 0", "Book 1", "Book 2"]
    assert asks(lambda: cached_queryset(rows, 60, cache=cache)) == 0
    found = asyncio.run(ask())
    assert found[0].author.name == "Ann" and len(found[0].labels.all()) == 2
    Book.objects.first().delete()
    assert len(asyncio.run(ask())) == 2


def test_within_djangos_test_case_it_works_as_outside() -> None:
    """A test case wraps each test in a transaction that never commits: its invalidations cannot wait for that."""
    import unittest

    from django.test import TestCase

    from pantler.django import cached_queryset
    from shelf.models import Author, Book

    class OfASite(TestCase):
        databases = {"default"}

        def test(self) -> None:
            author = Author.objects.create(name="Ann")
            book = Book.objects.create(title="first", author=author)
            assert cached_queryset(Book.objects.all(), 60)[0].title == "first"
            book.title = "second"
            book.save()
            assert cached_queryset(Book.objects.all(), 60)[0].title == "second"
            with self.assertNumQueries(0):
                cached_queryset(Book.objects.all(), 60)
            with self.captureOnCommitCallbacks(execute=True):
                from django.db import transaction

                with transaction.atomic():
                    book.title = "third"
                    book.save()
            assert cached_queryset(Book.objects.all(), 60)[0].title == "third"

    from django.test.utils import setup_test_environment, teardown_test_environment

    setup_test_environment()
    try:
        result = unittest.TextTestRunner(stream=io.StringIO()).run(OfASite("test"))
    finally:
        teardown_test_environment()
    assert result.wasSuccessful(), result.failures + result.errors


def test_rows_that_are_too_many_for_the_service_are_read_and_not_kept(service: str) -> None:
    """A page that grew must not become an error."""
    import json
    import urllib.request

    from django.core.cache import caches
    from django.test import override_settings

    from pantler.django import cached_queryset
    from shelf.models import Author

    namespace = f"small-{id(caches)}"
    request = urllib.request.Request(
        f"{service}/v1/namespaces/{namespace}",
        json.dumps({"max_value_size": 2000}).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request).close()
    Author.objects.bulk_create(Author(name=f"author {number}") for number in range(200))
    for options in ({}, {"IGNORE_EXCEPTIONS": True}):
        small = {
            "BACKEND": "pantler.django.PantlerCache",
            "LOCATION": f"{service}/v1/namespaces/{namespace}",
            "OPTIONS": options,
        }
        with override_settings(CACHES={"default": small}):
            for _ in range(2):
                assert len(cached_queryset(Author.objects.all(), 60)) == 200
            assert len(cached_queryset(Author.objects.order_by("pk")[:3], 60)) == 3


def test_a_serializer_that_does_not_take_models_is_an_error_that_says_so(service: str) -> None:
    from django.test import override_settings

    from pantler import SerializationError
    from pantler.django import cached_queryset
    from shelf.models import Author

    Author.objects.create(name="Ann")
    only_json = {
        "BACKEND": "pantler.django.PantlerCache",
        "LOCATION": f"{service}/v1/namespaces/json",
        "OPTIONS": {"SERIALIZER": "json"},
    }
    with override_settings(CACHES={"default": only_json}):
        assert cached_queryset(Author.objects.values("name"), 60) == [{"name": "Ann"}]
        with pytest.raises(SerializationError):
            cached_queryset(Author.objects.all(), 60)
