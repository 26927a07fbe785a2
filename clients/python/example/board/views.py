from django.db.models import Count, F, Max, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from mysite import levels

from .models import Player, Score


def best() -> list[dict[str, object]]:
    rows = (
        Score.objects.values("player_id", name=F("player__name"))
        .annotate(total=Sum("points"), games=Count("pk"), best=Max("points"))
        .order_by("-total", "player_id")[:50]
    )
    # Plain JSON: programs in other languages read the same entry.
    return list(rows)


def leaderboard(request: HttpRequest) -> HttpResponse:
    """Level 3: a value that the program makes and keeps itself, until somebody scores."""
    return render(
        request,
        "board/leaderboard.html",
        {
            "players": levels.value("leaderboard", 300, ["board.score", "board.player"], best),
        },
    )


@require_POST
def play(request: HttpRequest) -> HttpResponse:
    try:
        points = int(request.POST["points"])
        player = int(request.POST["player"])
    except (KeyError, ValueError):
        points = player = -1
    if not 0 <= points <= 1_000_000:
        return HttpResponseBadRequest("points is a number from 0 to 1000000, and player the number of one")
    Score.objects.create(player=get_object_or_404(Player, pk=player), points=points, played=timezone.now())
    return redirect("leaderboard")
