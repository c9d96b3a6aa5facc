"""The checkpoint that comes with the package, and how it was made."""

from study.method.checkpoint import EMBEDDED, backbone_path

__all__ = ["EMBEDDED", "backbone_path"]
