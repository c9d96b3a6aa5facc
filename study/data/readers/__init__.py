"""Readers of the layouts that datasets come in, one module per layout."""
