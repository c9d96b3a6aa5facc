"""Checkpoints that come with the package."""

from pathlib import Path

EMBEDDED = "embedded"


def backbone_path(name: str) -> str:
    """Give what transformers loads: the packaged folder for ``embedded``, else the name itself."""
    return str(Path(__file__).parent / "glyph-clip") if name == EMBEDDED else name
