import datetime
import random
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from blog.models import Author, Comment, Post, Topic
from board.models import Player, Score
from pantler.django import invalidate_models
from shop.models import Category, Label, Maker, Product, Review

WORDS = (
    "amber anchor apple arrow barrel basket beacon bell birch bottle bridge brook button candle canvas cedar clay cloud"
    " copper coral cotton crane crown dawn drum ember feather fern field flint fog forest fox garnet glass grain"
    " harbour hazel heron honey iron ivory juniper kettle lantern larch leaf lemon linen lock maple marble meadow mill"
    " mint moss needle nettle oak olive otter paper pear pebble pine plum pond quill rain reed river robin rope rowan"
    " saddle sail salt sand shell silver slate smoke snow sparrow spruce stone straw thistle thorn timber tin tower"
    " velvet vine walnut wave wheat willow wind wool wren"
).split()


class Command(BaseCommand):
    help = "Fills the database, so that a page costs something: the same rows each time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--scale", type=float, default=1.0, help="1 is 6,000 products, 30,000 reviews and 40,000 scores (default)"
        )

    def handle(self, *args: Any, scale: float, **options: Any) -> None:
        if not 0.001 <= scale <= 100:
            raise SystemExit("--scale is from 0.001 to 100")
        if Product.objects.exists():
            self.stdout.write("The database has rows already.")
            return
        rows = random.Random(17)
        now = timezone.now().replace(microsecond=0)

        def number(count: int) -> int:
            return max(round(count * scale), 1)

        def words(count: int) -> str:
            return " ".join(rows.choices(WORDS, k=count))

        def moment() -> datetime.datetime:
            return now - datetime.timedelta(seconds=rows.randrange(3 * 365 * 86400))

        with transaction.atomic():
            categories = Category.objects.bulk_create(Category(name=f"{word.title()} ware") for word in WORDS[:40])
            makers = Maker.objects.bulk_create(
                Maker(name=f"{words(2).title()} {each}", country=rows.choice(WORDS).title())
                for each in range(number(200))
            )
            labels = Label.objects.bulk_create(Label(name=f"{word}-made") for word in WORDS[40:100])
            products = Product.objects.bulk_create(
                (
                    Product(
                        name=words(3).capitalize(),
                        category=rows.choice(categories),
                        maker=rows.choice(makers),
                        price=f"{rows.randrange(100, 99900) / 100:.2f}",
                        description=words(40).capitalize() + ".",
                        changed=now,
                    )
                    for _ in range(number(6_000))
                ),
                batch_size=2_000,
            )
            between = Product.labels.through
            between.objects.bulk_create(
                (between(product=product, label=label) for product in products for label in rows.sample(labels, 3)),
                batch_size=5_000,
            )
            Review.objects.bulk_create(
                (
                    Review(product=rows.choice(products), stars=rows.randint(1, 5), text=words(20), written=moment())
                    for _ in range(number(30_000))
                ),
                batch_size=5_000,
            )

            authors = Author.objects.bulk_create(Author(name=words(2).title()) for _ in range(number(40)))
            topics = Topic.objects.bulk_create(Topic(name=word) for word in WORDS[:50])
            posts = Post.objects.bulk_create(
                (
                    Post(title=words(5).capitalize(), author=rows.choice(authors), text=words(300), published=moment())
                    for _ in range(number(3_000))
                ),
                batch_size=1_000,
            )
            between = Post.topics.through
            between.objects.bulk_create(
                (between(post=post, topic=topic) for post in posts for topic in rows.sample(topics, 3)),
                batch_size=5_000,
            )
            Comment.objects.bulk_create(
                (
                    Comment(post=rows.choice(posts), name=rows.choice(WORDS).title(), text=words(15), written=moment())
                    for _ in range(number(30_000))
                ),
                batch_size=5_000,
            )

            players = Player.objects.bulk_create(Player(name=f"{words(1)}-{each}") for each in range(number(2_000)))
            Score.objects.bulk_create(
                (
                    Score(player=rows.choice(players), points=rows.randrange(1_000), played=moment())
                    for _ in range(number(40_000))
                ),
                batch_size=5_000,
            )
            # Rows that are made in bulk send no signals.
            invalidate_models(Category, Maker, Label, Product, Review, Author, Topic, Post, Comment, Player, Score)
        self.stdout.write(f"{len(products)} products, {len(posts)} posts, {len(players)} players.")
