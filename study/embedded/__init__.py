"""The checkpoint that comes with the package, and how it was made."""

from pathlib import Path

from study.method.checkpoint import EMBEDDED

__all__ = ["EMBEDDED", "backbone_path"]


def backbone_path(name: str) -> str:
    """Return what transformers loads: the packaged folder for ``embedded``, else ``name``."""
    return str(Path(__file__).parent / "glyph-clip") if name == EMBEDDED else name
