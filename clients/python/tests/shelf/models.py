from __future__ import annotations

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=60)


class Publisher(models.Model):
    name = models.CharField(max_length=60)


class Label(models.Model):
    name = models.CharField(max_length=60)


class Note(models.Model):
    text = models.CharField(max_length=60)
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    about = GenericForeignKey("content_type", "object_id")


class Book(models.Model):
    title = models.CharField(max_length=60)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    publisher = models.ForeignKey(Publisher, models.SET_NULL, null=True, related_name="books")
    labels = models.ManyToManyField(Label, related_name="books")
    price = models.DecimalField(max_digits=8, decimal_places=2, default="9.90")
    printed = models.DateTimeField(null=True)
    uid = models.UUIDField(default=uuid.uuid4)
    cover = models.BinaryField(default=b"")
    facts = models.JSONField(default=dict)
    notes = GenericRelation(Note)


class Novel(Book):
    """A child of its own table beside its parent's."""

    plot = models.CharField(max_length=60, default="")


class CheapBook(Book):
    class Meta:
        proxy = True


class OddTable(models.Model):
    name = models.CharField(max_length=60)

    class Meta:
        db_table = "odd table; with-characters"
