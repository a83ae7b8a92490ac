"""Pixels in, pixels out: networks that make pictures larger and sharper. Knows no video."""
