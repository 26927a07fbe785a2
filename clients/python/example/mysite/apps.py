from django.apps import AppConfig


class MySiteConfig(AppConfig):
    name = "mysite"

    def ready(self) -> None:
        # Its signals are to be seen by every process that changes something.
        from . import levels  # noqa: F401
