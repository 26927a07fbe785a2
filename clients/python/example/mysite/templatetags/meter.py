"""
`{% fragment asked %}` before a `{% cache %}` block, and `{% fragment missed %}` in it, count the block's hits and
misses.
"""

from django import template

from mysite import meter

register = template.Library()


@register.simple_tag
def fragment(what: str) -> str:
    request = meter.current.get()
    if request:
        both = request.levels.setdefault("fragment", [0, 0])
        if what == "asked":
            both[0] += 1
        else:
            # It was taken for a hit before.
            both[0] -= 1
            both[1] += 1
    return ""
