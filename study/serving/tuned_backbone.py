"""Load the backbone of a delta, with the delta applied to it."""

from pathlib import Path

from study.backbones.backbone import Backbone
from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.errors import DeltaError
from study.method.delta import DeltaInfo, apply_delta, load_delta, read_head
from study.method.head import Head


def load_tuned_backbone(
    delta: Path, backbone: str | None = None, *, revision: str | None = None
) -> tuple[Backbone, Head | None, DeltaInfo]:
    """Load the backbone that a delta was tuned from, and apply the delta to it.

    Args:
        delta: a file written by `save_delta`.
        backbone: the hub name or folder of the checkpoint; None means the one in the delta.
        revision: the backbone's revision on the hub; None means the one in the delta, unless
            ``backbone`` is another checkpoint.

    Returns:
        The tuned backbone; the delta's linear head, or None; and the delta's description.

    Raises:
        DeltaError: the delta cannot be read, or belongs to another backbone, which is named.
        BackboneError: the backbone cannot be loaded.
    """
    tensors, info = load_delta(delta)
    name = backbone or info.backbone
    # The revision in the delta belongs to its own checkpoint and means nothing for another one.
    if not revision:
        revision = info.revision if name == info.backbone else None
    loaded = load_backbone(backbone_path(name), revision=revision)
    if loaded.fingerprint != info.fingerprint:
        raise DeltaError(
            f"delta {delta} was tuned from '{info.backbone}' with fingerprint {info.fingerprint}; "
            f"backbone '{name}' has fingerprint {loaded.fingerprint}"
        )
    apply_delta(loaded.clip, tensors)
    return loaded, read_head(tensors, info), info
