"""Readers of the layouts that datasets come in, one layout a module."""
