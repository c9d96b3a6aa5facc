"""What a checkpoint says of itself, read from its configuration without loading its weights."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from study.backbones.architecture import FAMILIES, Architecture, Encoder, EncoderShape, Family
from study.backbones.framing import AS_CLIP, AS_SIGLIP, Framing, framing_of
from study.backbones.hub import (
    PREPROCESSING,
    cached,
    refuse_unreachable,
    transformers_quiet,
    unreachable,
)
from study.backbones.openclip_checkpoint import OPEN_CLIP_CONFIG, clip_values, open_clip_framing
from study.errors import BackboneError

NAME_ON_HUB = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
"""What the name of a checkpoint on the hub looks like."""
EMBEDDED = "embedded"
"""The backbone name of the checkpoint that comes with the package; see `study.embedded`."""


def backbone_path(name: str) -> str:
    """Return what transformers loads: the packaged folder for ``embedded``, else ``name``."""
    return str(Path(__file__).parents[1] / "embedded" / "glyph-clip") if name == EMBEDDED else name


class Description(NamedTuple):
    """What a checkpoint says of itself, without its weights."""

    config: Any
    """The configuration of the model in transformers, a ``CLIPConfig`` or a ``SiglipConfig``."""
    family: Family
    """The family."""
    framing: Framing
    """How images are brought to their size."""
    identity: str
    """See `Architecture.checkpoint`."""
    locally: bool
    """Whether this machine's files must do."""
    open_clip: Mapping[str, Any] | None
    """The contents of ``open_clip_config.json`` if it is an OpenCLIP checkpoint."""


def read_architecture(name: str | Path, *, revision: str | None = None) -> Architecture:
    """Read the architecture from a checkpoint's configuration.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: see `describe`.
    """
    config, family, framing, identity, _, open_clip = describe(name, revision=revision)
    try:
        text, vision = _SHAPES[family](config)
        return Architecture(
            text=text,
            vision=vision,
            image_size=int(config.vision_config.image_size),
            dim=text.dim,
            checkpoint=identity,
            family=family,
            framing=framing,
            open_clip=open_clip is not None,
        )
    except Exception as error:  # transformers raises many types, all of them about this file
        raise _undescribed(name, family, error) from error


def read_family(name: str | Path, *, revision: str | None = None) -> Family | None:
    """Return the family of a checkpoint, without looking at its weights; None if it is of no known.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: a hub's checkpoint cannot be had.
    """
    refuse_absent_folder(name)
    if not (locally := Path(name).is_dir()):
        locally = refuse_unreachable(str(name), ("config.json", OPEN_CLIP_CONFIG), revision)
    try:
        values, open_clip, _ = _read_config(name, revision, locally)
    except (OSError, ValueError):
        return None
    family = "clip" if open_clip is not None else values.get("model_type")
    return family if family in FAMILIES else None


def describe(name: str | Path, *, revision: str | None = None) -> Description:
    """Read what a checkpoint says of itself.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the configuration cannot be found or read, or describes no model of a known
            family; or a local folder has no safetensors weights.
    """
    with transformers_quiet():  # of ids that a configuration has by default and nothing reads
        return _describe(name, revision)


def _describe(name: str | Path, revision: str | None) -> Description:
    # They take a second to import, which --help can do without.
    from transformers import CLIPConfig, SiglipConfig

    folder = Path(name)
    refuse_absent_folder(name)
    locally = folder.is_dir()
    try:
        if locally:
            _refuse_incomplete(folder)
        else:
            files = ("config.json", OPEN_CLIP_CONFIG)
            locally = refuse_unreachable(str(name), files, revision)
        values, open_clip, commit = _read_config(name, revision, locally)
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
    identity = _hash(folder) if folder.is_dir() else f"{name}@{commit}"
    if open_clip is not None:
        config = CLIPConfig.from_dict(clip_values(name, open_clip))
        framing = open_clip_framing(name, open_clip)
        return Description(config, "clip", framing, identity, locally, open_clip)
    if (family := values.get("model_type")) not in FAMILIES:
        raise BackboneError(
            f"backbone '{name}' is a '{family}' model; allowed are "
            f"{', '.join(map(repr, FAMILIES))} (SigLIP and SigLIP 2 of a fixed resolution are "
            "both 'siglip'), and OpenCLIP checkpoints"
        )
    try:
        config = (CLIPConfig if family == "clip" else SiglipConfig).from_dict(values)
    except Exception as error:  # transformers raises many types, all of them about this file
        raise _undescribed(name, family, error) from error
    usual, side = AS_CLIP if family == "clip" else AS_SIGLIP, config.vision_config.image_size
    framing = _read_framing(name, revision, locally, usual, side)
    return Description(config, family, framing, identity, locally, None)


def _read_config(
    name: str | Path, revision: str | None, locally: bool
) -> tuple[dict[str, Any], dict[str, Any] | None, str | None]:
    """Return the values of config.json or of OpenCLIP's file, and the commit on the hub.

    A checkpoint that has both files is read as transformers would.
    """
    from transformers import CLIPConfig

    def commit(file: str) -> str | None:
        """Return the commit, by which the cache of the hub names the folder of a file."""
        found = cached(str(name), file, revision)
        return None if found is None else Path(found).parent.name

    values: dict[str, Any] = {}
    try:
        values, _ = CLIPConfig.get_config_dict(name, revision=revision, local_files_only=locally)
    except (OSError, ValueError):
        if (found := cached(str(name), OPEN_CLIP_CONFIG, revision, locally=locally)) is None:
            raise
    else:
        if values.get("model_type") in FAMILIES:
            return values, None, commit("config.json")
        found = cached(str(name), OPEN_CLIP_CONFIG, revision, locally=locally)
    if found is None:
        return values, None, None
    contents = json.loads(Path(found).read_text(encoding="utf-8"))
    return values, contents, commit(OPEN_CLIP_CONFIG)


def _undescribed(name: str | Path, family: Family, error: Exception) -> BackboneError:
    called = "CLIP" if family == "clip" else "SigLIP"
    return BackboneError(
        f"backbone '{name}' has a config.json that describes no {called} ({error})"
    )


def _read_framing(
    name: str | Path, revision: str | None, locally: bool, usual: Framing, side: int
) -> Framing:
    """Return how images are prepared by the file that says so, or as usual.

    Raises:
        BackboneError: the file cannot be read, or they are prepared in another way.
    """
    for file in PREPROCESSING:
        if (path := cached(str(name), file, revision, locally=locally)) is not None:
            try:
                values = json.loads(Path(path).read_text(encoding="utf-8"))
                return framing_of(values.get("image_processor", values), side, usual=usual)
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise BackboneError(
                    f"backbone '{name}' prepares images in a way that is not understood ({file}: "
                    f"{error})"
                ) from error
    return usual


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
    configs = ("config.json", OPEN_CLIP_CONFIG)
    lacking += [] if any((folder / file).exists() for file in configs) else ["config.json"]
    if lacking:
        raise BackboneError(f"backbone '{folder}' has no {' and no '.join(lacking)} in its folder")


def first_lines(error: Exception) -> str:
    """Return an error of transformers on one line, without the advice that follows its cause."""
    return " ".join(str(error).split())[:300]


def _hash(folder: Path) -> str:
    """Hash the weights, tokenizer and preprocessing files; other files do not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".txt", ".model"):
            with path.open("rb") as file:
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name} {contents}\n".encode())
    return digest.hexdigest()[:16]


def _sizes(encoder: Encoder, config: Any) -> tuple[int, int, int]:
    """Return depth, width and width of the MLP."""
    sizes = (config.num_hidden_layers, config.hidden_size, config.intermediate_size)
    if min(sizes) < 1:
        raise BackboneError(f"the {encoder} encoder's configuration has sizes {sizes}")
    return sizes


def _clip_shapes(config: Any) -> tuple[EncoderShape, EncoderShape]:
    """Return the sizes of CLIP's text encoder and of its image encoder."""
    text, vision, dim = config.text_config, config.vision_config, int(config.projection_dim)
    # Tokens, positions and the last LayerNorm; patches and their positions, the class and its own,
    # and two LayerNorms.
    tokens = text.vocab_size + text.max_position_embeddings + 2
    patches = (vision.image_size // vision.patch_size) ** 2
    pixels = vision.num_channels * vision.patch_size**2 + patches + 2 + 4
    return (
        EncoderShape(*_sizes("text", text), text.hidden_size * (tokens + dim), dim),
        EncoderShape(
            *_sizes("vision", vision), vision.hidden_size * (pixels + dim), dim, patches + 1
        ),
    )


def _siglip_shapes(config: Any) -> tuple[EncoderShape, EncoderShape]:
    """Return the sizes of SigLIP's text encoder and of its image encoder.

    Raises:
        BackboneError: the image encoder has no pool, so that it has no features.
    """
    text, vision, dim = config.text_config, config.vision_config, config.text_config.projection_size
    if not vision.vision_use_head:
        raise BackboneError("vision_use_head is false; allowed is an image encoder with its pool")
    if dim != vision.hidden_size:
        raise BackboneError(
            f"texts have {dim} features, and images {vision.hidden_size}: they cannot be compared"
        )
    tokens = text.vocab_size + text.max_position_embeddings + 2
    width, inner = vision.hidden_size, vision.intermediate_size
    patches = (vision.image_size // vision.patch_size) ** 2
    # Patches with their bias and positions, the last LayerNorm, and the pool: its query, its
    # LayerNorm, its attention and its MLP.
    pixels = vision.num_channels * vision.patch_size**2 + 1 + patches + 2 + 1 + 2
    pool = 4 * width * (width + 1) + 2 * width * inner + inner + width
    return (
        EncoderShape(*_sizes("text", text), text.hidden_size * (tokens + dim) + dim, dim),
        EncoderShape(*_sizes("vision", vision), width * pixels + pool, dim, patches),
    )


_SHAPES = {"clip": _clip_shapes, "siglip": _siglip_shapes}
