"""`cache_page` for coroutines."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.middleware.cache import CacheMiddleware
from django.views.decorators.cache import cache_page as djangos_cache_page

View = TypeVar("View", bound=Callable[..., Any])


def cache_page(
    timeout: float | None, *, cache: str | None = None, key_prefix: str | None = None
) -> Callable[[View], View]:
    """
    Django's ``cache_page``, which it is but for views that are coroutine functions. Around those Django asks the cache
    in the event loop itself, where nobody may wait: so each visitor of an expired page makes it. With this one it is
    made once, as elsewhere.

    ``timeout``: seconds; ``cache``: an alias of CACHES; ``key_prefix``: in the place of CACHE_MIDDLEWARE_KEY_PREFIX.
    The pages are those of Django's decorator: each finds what the other has kept.
    """
    decorate = djangos_cache_page(timeout, cache=cache, key_prefix=key_prefix)

    def decorator(view: View) -> View:
        if not iscoroutinefunction(view):
            return decorate(view)
        middleware = CacheMiddleware(view, page_timeout=timeout, cache_alias=cache, key_prefix=key_prefix)

        @wraps(view)
        async def wrapped(request: Any, *args: Any, **kwargs: Any) -> Any:
            response = await sync_to_async(middleware.process_request)(request)
            if response is not None:
                return response
            response = await view(request, *args, **kwargs)
            if callable(getattr(response, "render", None)):
                # What is kept is the page as it is rendered, which Django does later, in a thread.
                response.add_post_render_callback(lambda rendered: middleware.process_response(request, rendered))
                return response
            return await sync_to_async(middleware.process_response)(request, response)

        return wrapped  # type: ignore[return-value]

    return decorator
