from django.conf import settings
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.front, name="front"),
    path("products/", include("shop.urls")),
    path("blog/", include("blog.urls")),
    path("leaderboard/", include("board.urls")),
    path("caching/", views.caching, name="caching"),
    path("caching/forget/", views.forget, name="forget"),
]

if settings.DEBUG and "debug_toolbar" in settings.INSTALLED_APPS:
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
