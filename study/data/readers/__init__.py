"""Readers of the layouts that datasets come in."""
