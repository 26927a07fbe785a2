from django.db import models


class Category(models.Model):
    name = models.CharField(max_length=60, unique=True)

    class Meta:
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class Maker(models.Model):
    name = models.CharField(max_length=60, unique=True)
    country = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Label(models.Model):
    name = models.CharField(max_length=40, unique=True)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    name = models.CharField(max_length=120)
    category = models.ForeignKey(Category, models.PROTECT, related_name="products")
    maker = models.ForeignKey(Maker, models.PROTECT, related_name="products")
    labels = models.ManyToManyField(Label, related_name="products")
    price = models.DecimalField(max_digits=9, decimal_places=2)
    description = models.TextField()
    changed = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name


class Review(models.Model):
    product = models.ForeignKey(Product, models.CASCADE, related_name="reviews")
    stars = models.PositiveSmallIntegerField()
    text = models.TextField()
    written = models.DateTimeField()
