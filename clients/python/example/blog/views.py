from django.db.models import Count
from django.db.models.functions import TruncMonth
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from mysite import levels

from .models import Comment, Post, Topic


@levels.cache_page(30)
def posts(request: HttpRequest) -> HttpResponse:
    """A whole page for half a minute (level 1), over a fragment (2) and rows (4)."""
    rows = Post.objects.select_related("author").prefetch_related("topics").annotate(comments_count=Count("comments"))
    return render(
        request,
        "blog/posts.html",
        {
            "posts": levels.cached_queryset(rows.order_by("-published")[:20], ttl=300),
            "months": (
                Post.objects.annotate(month=TruncMonth("published"))
                .values("month")
                .annotate(number=Count("pk"))
                .order_by("-month")
            ),
            "topics": Topic.objects.annotate(number=Count("posts")).order_by("-number", "name")[:30],
        },
    )


def post(request: HttpRequest, pk: int) -> HttpResponse:
    """The post with all that belongs to it: one entry, invalidated by posts, authors, topics and comments."""
    rows = Post.objects.filter(pk=pk).select_related("author").prefetch_related("topics", "comments")
    found = levels.cached_queryset(rows, ttl=300, tags=[f"post-{pk}"])
    if not found:
        raise Http404(f"there is no post {pk}")
    return render(
        request,
        "blog/post.html",
        {
            "post": found[0],
            "months": (
                Post.objects.annotate(month=TruncMonth("published"))
                .values("month")
                .annotate(number=Count("pk"))
                .order_by("-month")
            ),
            "topics": Topic.objects.annotate(number=Count("posts")).order_by("-number", "name")[:30],
        },
    )


@require_POST
def comment(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Post, pk=pk)
    text = request.POST.get("text", "").strip()
    if not 1 <= len(text) <= 2_000:
        return HttpResponseBadRequest("text has 1 to 2000 characters")
    Comment.objects.create(
        post=found, name=request.POST.get("name", "")[:60] or "A visitor", text=text, written=timezone.now()
    )
    return redirect("post", pk)
