from django.conf import settings
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from blog.models import Post
from board.models import Player
from shop.models import Product

from . import meter
from .levels import cache_page, cached_queryset


@cache_page(15)
def front(request: HttpRequest) -> HttpResponse:
    """
    Level 1 over level 4: the whole page for a quarter of a minute, and below it rows that are right to the moment.
    """
    products = (
        Product.objects.select_related("maker")
        .annotate(reviews_count=Count("reviews"))
        .order_by("-reviews_count", "pk")
    )
    return render(
        request,
        "front.html",
        {
            "products": cached_queryset(products[:8], ttl=300),
            "posts": cached_queryset(Post.objects.select_related("author").order_by("-published")[:5], ttl=300),
            "players": cached_queryset(
                Player.objects.annotate(points=Sum("scores__points")).order_by("-points", "pk")[:5], ttl=300
            ),
        },
    )


def caching(request: HttpRequest) -> HttpResponse:
    """Hits and misses of each level, and queries a request, of all workers since they began or were told to forget."""
    found = meter.totals()
    levels = []
    for level, title in (
        ("page", "@cache_page"),
        ("fragment", "{% cache %}"),
        ("value", "cache.get, cache.set"),
        ("queryset", "cached_queryset"),
    ):
        hits, misses = found[f"{level}_hits"], found[f"{level}_misses"]
        levels.append(
            {
                "title": title,
                "hits": hits,
                "misses": misses,
                "ratio": 100 * hits / (hits + misses) if hits + misses else None,
            }
        )
    requests = found["requests"]
    return render(
        request,
        "caching.html",
        {
            "backend": settings.CACHES["default"]["BACKEND"],
            "levels": levels,
            "requests": requests,
            "queries": found["queries"],
            "queries_a_request": found["queries"] / requests if requests else None,
            "query_milliseconds": found["query_microseconds"] / 1000 / requests if requests else None,
        },
    )


@require_POST
def forget(request: HttpRequest) -> HttpResponse:
    meter.forget()
    return redirect("caching")
