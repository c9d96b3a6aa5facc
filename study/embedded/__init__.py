"""The checkpoint that comes with the package."""

from study.backbones.description import EMBEDDED, backbone_path

__all__ = ["EMBEDDED", "backbone_path"]
