"""Recipes for training, as data of the package."""
