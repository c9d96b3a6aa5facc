"""The architecture of a checkpoint, read from its configuration without loading its weights."""

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import BackboneError
from study.method.hub import refuse_unreachable, unreachable
from study.method.parameters import Encoder, Leaf
from study.method.subsets import Depths

NAME_ON_HUB = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
"""What the name of a checkpoint on the hub looks like."""
EMBEDDED = "embedded"
"""The backbone name of the checkpoint that comes with the package; see `study.embedded`."""


def backbone_path(name: str) -> str:
    """Return what transformers loads: the packaged folder for ``embedded``, else ``name``."""
    return str(Path(__file__).parents[1] / "embedded" / "glyph-clip") if name == EMBEDDED else name


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of one encoder."""

    depth: int
    """The number of blocks."""
    width: int
    """The size of a token's state between blocks."""
    mlp_width: int
    """The size of the hidden layer in a block's MLP."""
    outside: int = 0
    """How many numbers lie outside the blocks: embeddings, LayerNorms and the projection."""

    def count_all(self) -> int:
        """Return how many numbers the encoder holds."""
        width, inner = self.width, self.mlp_width
        attention, mlp = 4 * width * (width + 1), 2 * width * inner + inner + width
        return self.outside + self.depth * (attention + mlp + 4 * width)


@dataclass(frozen=True)
class Architecture:
    """The sizes of both encoders and of the images, and the identity of the weights."""

    text: EncoderShape
    vision: EncoderShape
    image_size: int
    """The side of the square images, in pixels."""
    dim: int
    """The number of features of an image or a text."""
    checkpoint: str = ""
    """The identity of the weights: hub name and commit, or a hash of a folder's files."""

    @property
    def depths(self) -> Depths:
        """The number of blocks of each encoder."""
        return Depths(self.text.depth, self.vision.depth)

    def count(self, leaves: Iterable[Leaf]) -> int:
        """Return how many numbers some parameter tensors hold."""
        return sum(
            math.prod(getattr(getattr(self, leaf.encoder), size) for size in leaf.row.shape)
            for leaf in leaves
        )

    def count_all(self) -> int:
        """Return how many numbers both encoders hold, without CLIP's logit scale."""
        return self.text.count_all() + self.vision.count_all()

    def count_lora(self, rank: int) -> int:
        """Return how many numbers LoRA holds; see `study.method.peers.LoraClassifier`."""
        adapted = 2  # of each block
        return sum(adapted * one.depth * 2 * rank * one.width for one in (self.text, self.vision))


def read_architecture(name: str | Path, *, revision: str | None = None) -> Architecture:
    """Read the architecture from a checkpoint's ``config.json``.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the file cannot be found or read, or describes no CLIP model; or a local
            folder has no safetensors weights.
    """
    from transformers import CLIPConfig  # takes a second to import, which --help can do without

    folder = Path(name)
    refuse_absent_folder(name)
    try:
        if folder.is_dir():
            _refuse_incomplete(folder)
            values, _ = CLIPConfig.get_config_dict(name, local_files_only=True)
        else:
            locally = refuse_unreachable(str(name), "config.json", revision)
            values, _ = CLIPConfig.get_config_dict(
                name, revision=revision, local_files_only=locally
            )
    except (OSError, ValueError) as error:
        if "couldn't connect" in str(error):
            fault = "something else answers in its place"
            raise BackboneError(unreachable(str(name), revision, fault)) from error
        allowed = "a folder with a Hugging Face CLIP checkpoint"
        if not folder.is_dir():
            allowed = "a Hugging Face CLIP checkpoint, by hub name or local folder, or 'embedded'"
        raise BackboneError(
            f"backbone '{name}' cannot be found or read ({first_lines(error)}); allowed is "
            f"{allowed}"
        ) from error
    if values.get("model_type") != "clip":
        raise BackboneError(
            f"backbone '{name}' is a '{values.get('model_type')}' model; allowed is 'clip'"
        )
    identity = _hash(folder) if folder.is_dir() else f"{name}@{values.get('_commit_hash')}"
    try:
        config = CLIPConfig.from_dict(values)
        return Architecture(
            text=_shape("text", config),
            vision=_shape("vision", config),
            image_size=int(config.vision_config.image_size),
            dim=int(config.projection_dim),
            checkpoint=identity,
        )
    except Exception as error:  # transformers raises many types, all of them about this file
        raise BackboneError(
            f"backbone '{name}' has a config.json that describes no CLIP ({error})"
        ) from error


def refuse_absent_folder(name: str | Path) -> None:
    """Raise if a name can only mean a folder of this machine, which is not there.

    Raises:
        BackboneError: there is no such folder.
    """
    folder = Path(name)
    meant = isinstance(name, Path) or NAME_ON_HUB.fullmatch(str(name)) is None
    try:
        # Of two parts, like a name of the hub: it is a folder where the first part is one.
        meant = meant or (len(folder.parts) == 2 and folder.parent.is_dir())
        absent = not folder.is_dir()
        kind = "a file" if folder.exists() else "not there"
    except (OSError, ValueError) as error:  # a name that no folder, nor anything on the hub, has
        meant, absent, kind = True, True, f"impossible ({error})"
    if meant and absent:
        raise BackboneError(
            f"backbone '{name}' is no folder: {folder.absolute()} is {kind}; allowed is "
            "a folder with config.json, weights in safetensors format and a tokenizer, or a name "
            "of the hub"
        )


def _refuse_incomplete(folder: Path) -> None:
    lacking = [] if any(folder.glob("*.safetensors")) else ["weights in safetensors format"]
    lacking += [] if (folder / "config.json").exists() else ["config.json"]
    if lacking:
        raise BackboneError(f"backbone '{folder}' has no {' and no '.join(lacking)} in its folder")


def first_lines(error: Exception) -> str:
    """Return an error of transformers on one line, without the advice that follows its cause."""
    return " ".join(str(error).split())[:300]


def _hash(folder: Path) -> str:
    """Hash the weights, tokenizer and preprocessing files; other files do not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".txt"):
            with path.open("rb") as file:
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name} {contents}\n".encode())
    return digest.hexdigest()[:16]


def _shape(encoder: Encoder, whole: Any) -> EncoderShape:
    config = whole.text_config if encoder == "text" else whole.vision_config
    width, inner = config.hidden_size, config.intermediate_size
    if min(sizes := (config.num_hidden_layers, width, inner)) < 1:
        raise BackboneError(f"the {encoder} encoder's configuration has sizes {sizes}")
    if encoder == "text":  # tokens, positions and the last LayerNorm
        vectors = config.vocab_size + config.max_position_embeddings + 2
    else:  # patches and their positions, the class and its own, and two LayerNorms
        patches = (config.image_size // config.patch_size) ** 2
        vectors = config.num_channels * config.patch_size**2 + patches + 2 + 4
    return EncoderShape(*sizes, outside=width * (vectors + whole.projection_dim))
