from django.db import models


class Player(models.Model):
    name = models.CharField(max_length=40, unique=True)

    def __str__(self) -> str:
        return self.name


class Score(models.Model):
    player = models.ForeignKey(Player, models.CASCADE, related_name="scores")
    points = models.PositiveIntegerField()
    played = models.DateTimeField()
