"""The checkpoint that comes with the package."""

from study.method.checkpoint import EMBEDDED, backbone_path

__all__ = ["EMBEDDED", "backbone_path"]
