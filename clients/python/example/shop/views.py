from decimal import Decimal, InvalidOperation

from django.db.models import Avg, Count
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from mysite import levels

from .models import Category, Product

PAGE = 24


def products(request: HttpRequest) -> HttpResponse:
    """
    Rows with what they refer to (level 4), their number (level 3), and the list of categories as a fragment (level 2).
    """
    try:
        page = max(int(request.GET.get("page", 1)), 1)
        category = int(request.GET["category"]) if request.GET.get("category") else None
    except ValueError:
        return HttpResponseBadRequest("page and category are numbers")
    found = Product.objects.all()
    if category is not None:
        found = found.filter(category=category)
    rows = (
        found.select_related("category", "maker")
        .prefetch_related("labels")
        .annotate(stars=Avg("reviews__stars"), reviews_count=Count("reviews"))
        .order_by("-stars", "pk")
    )
    number = levels.value(f"products-{category or 'all'}", 300, ["shop.product"], found.count)
    return render(
        request,
        "shop/products.html",
        {
            "products": levels.cached_queryset(rows[(page - 1) * PAGE : page * PAGE], ttl=300),
            "number": number,
            "page": page,
            "next": page + 1 if page * PAGE < number else None,
            "category": category,
            # A queryset is asked where it is gone through, which is in the fragment and on its miss alone.
            "categories": Category.objects.annotate(number=Count("products")).order_by("name"),
        },
    )


def product(request: HttpRequest, pk: int) -> HttpResponse:
    """The row is not kept, so that its price is the price; what is costly about it is, until it changes."""
    found = get_object_or_404(Product.objects.select_related("category", "maker"), pk=pk)
    alike = Product.objects.filter(category=found.category, labels__in=found.labels.all()).exclude(pk=pk)
    return render(
        request,
        "shop/product.html",
        {
            "product": found,
            "alike": levels.cached_queryset(
                alike.select_related("maker").annotate(common=Count("pk")).order_by("-common", "pk")[:6], ttl=300
            ),
            "reviews": found.reviews.order_by("-written")[:20],
        },
    )


@require_POST
def change_price(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Product, pk=pk)
    try:
        found.price = Decimal(request.POST["price"]).quantize(Decimal("0.01"))
        if not 0 <= found.price < 10_000_000:
            raise ValueError
    except (KeyError, InvalidOperation, ValueError):
        return HttpResponseBadRequest("price is an amount from 0 to 9999999.99")
    # Its signal invalidates what was made of products.
    found.save(update_fields=["price", "changed"])
    return redirect("product", pk)
