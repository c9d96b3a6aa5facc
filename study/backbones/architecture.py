"""The sizes of a model's encoders and images, and the family of its networks."""

from typing import Any, Literal, NamedTuple, get_args

from study.backbones.framing import CLIP_FRAMING, Framing

Encoder = Literal["text", "vision"]
ENCODERS: tuple[Encoder, ...] = get_args(Encoder)
Family = Literal["clip", "siglip"]
"""A family of models with the same sites, by the name of its ``model_type`` in transformers."""
FAMILIES: tuple[Family, ...] = get_args(Family)

POOL = "head.attention"
"""The path of the attention in the pool of SigLIP's image encoder."""


class Depths(NamedTuple):
    """The number of blocks of each encoder, and the family, which decides on the other layers."""

    text: int
    vision: int
    family: Family = "clip"


class EncoderShape(NamedTuple):
    """The sizes of one encoder."""

    depth: int
    """The number of blocks."""
    width: int
    """The size of a token's state between blocks."""
    mlp_width: int
    """The size of the hidden layer in a block's MLP."""
    dim: int = 0
    """The number of features."""


class Architecture(NamedTuple):
    """The sizes of both encoders and of the images, and the identity of the weights."""

    text: EncoderShape
    vision: EncoderShape
    image_size: int
    """The side of the square images, in pixels."""
    dim: int
    """The number of features of an image or a text."""
    checkpoint: str = ""
    """The identity of the weights: hub name and commit, or a hash of a folder's files."""
    family: Family = "clip"
    """The family, which decides which sites there are."""
    framing: Framing = CLIP_FRAMING
    """How images are brought to their size."""
    open_clip: bool = False
    """Whether it is an OpenCLIP checkpoint."""
    config: Any = None
    """The configuration of the model in transformers."""

    @property
    def depths(self) -> Depths:
        """The number of blocks of each encoder, with the family."""
        return Depths(self.text.depth, self.vision.depth, self.family)

    def count_all(self) -> int:
        """Return how many numbers both encoders hold, without the logit scale and bias."""
        import torch  # both take seconds to import, and few studies count
        from transformers import AutoModel

        with torch.device("meta"):  # the network without memory for its weights
            model = AutoModel.from_config(self.config)
        weights = model.named_parameters()
        return sum(weight.numel() for name, weight in weights if not name.startswith("logit"))
