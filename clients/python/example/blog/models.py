from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=60)

    def __str__(self) -> str:
        return self.name


class Topic(models.Model):
    name = models.CharField(max_length=40, unique=True)

    def __str__(self) -> str:
        return self.name


class Post(models.Model):
    title = models.CharField(max_length=120)
    author = models.ForeignKey(Author, models.CASCADE, related_name="posts")
    topics = models.ManyToManyField(Topic, related_name="posts")
    text = models.TextField()
    published = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.title


class Comment(models.Model):
    post = models.ForeignKey(Post, models.CASCADE, related_name="comments")
    name = models.CharField(max_length=60)
    text = models.TextField()
    written = models.DateTimeField()
