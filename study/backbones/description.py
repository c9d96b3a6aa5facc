"""The description of a checkpoint by its configuration, read without loading its weights."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from study.backbones.architecture import FAMILIES, Architecture, Encoder, EncoderShape, Family
from study.backbones.framing import CLIP_FRAMING, SIGLIP_FRAMING, Framing, read_framing
from study.backbones.hub import (
    PREPROCESSING,
    CheckpointName,
    Source,
    format_unreachable,
    must_read_locally,
    silence_transformers,
)
from study.backbones.openclip_checkpoint import OPEN_CLIP_CONFIG, clip_values, open_clip_framing
from study.errors import BackboneError
from study.storage.result_folder import JsonObject

NAME_ON_HUB = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
"""The pattern of a checkpoint's name on the hub."""
CONFIGS = ("config.json", OPEN_CLIP_CONFIG)
"""The configuration files; every checkpoint has at least one of them."""
ALLOWED = (
    "allowed is a Hugging Face CLIP checkpoint with safetensors weights, by hub name or folder"
)
EMBEDDED = "embedded"
"""The backbone name of the checkpoint that comes with the package; see `study.embedded`."""


def backbone_path(name: str) -> str:
    """Return the path of the packaged folder for ``embedded``, and any other name as it is."""
    if name != EMBEDDED:
        return name
    return str(Path(__file__).parents[1] / "embedded" / "glyph-clip")


class Description(NamedTuple):
    """The facts of a checkpoint that are known without its weights."""

    source: Source
    """Where it is read from."""
    config: Any
    """The configuration of the model in transformers, a ``CLIPConfig`` or a ``SiglipConfig``."""
    family: Family
    """The family of the model."""
    framing: Framing
    """How images are brought to their size."""
    identity: str
    """See `Architecture.checkpoint`."""
    open_clip: Mapping[str, Any] | None
    """The contents of ``open_clip_config.json`` of an OpenCLIP checkpoint; None for others."""


def read_architecture(name: CheckpointName, *, revision: str | None = None) -> Architecture:
    """Read the architecture from a checkpoint's configuration.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: see `read_description`.
    """
    description = read_description(name, revision=revision)
    config = description.config
    vision = config.vision_config
    family = description.family
    try:
        tokens = (vision.image_size // vision.patch_size) ** 2
        if family == "clip":
            dim = int(config.projection_dim)
            tokens += 1  # that of the class
        else:
            dim = _siglip_dim(config)
        return Architecture(
            text=_shape("text", config.text_config, dim),
            vision=_shape("vision", vision, dim, tokens),
            image_size=vision.image_size,
            dim=dim,
            checkpoint=description.identity,
            family=family,
            framing=description.framing,
            open_clip=description.open_clip is not None,
            config=config,
        )
    except Exception as error:  # transformers raises many types, all of them about this file
        raise _wrong_config(name, family, error) from error


def read_family(name: CheckpointName, *, revision: str | None = None) -> Family | None:
    """Return the family of a checkpoint, without reading its weights; None if it is unknown.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the checkpoint is neither on this machine nor available from the hub.
    """
    try:
        _, values, open_clip = _find_config(name, revision)
    except (OSError, ValueError):
        return None
    family = "clip" if open_clip is not None else values.get("model_type")
    return family if family in FAMILIES else None


@silence_transformers()  # it warns of default ids that nothing reads
def read_description(name: CheckpointName, *, revision: str | None = None) -> Description:
    """Read the description of a checkpoint.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the configuration cannot be found or read, or describes no model of a known
            family; or a local folder has no safetensors weights.
    """
    # They take a second to import, which --help can do without.
    from transformers import CLIPConfig, SiglipConfig

    folder = Path(name)
    try:
        source, values, open_clip = _find_config(name, revision)
    except (OSError, ValueError) as error:
        raise _unreadable(name, revision, error) from error
    if folder.is_dir():
        identity = _hash_folder(folder)
    else:
        path = Source(name, revision).find(*CONFIGS)
        identity = f"{name}@{path and path.parent.name}"  # the commit
    if open_clip is not None:
        config = CLIPConfig.from_dict(clip_values(name, open_clip))
        framing = open_clip_framing(name, open_clip)
        return Description(source, config, "clip", framing, identity, open_clip)
    family = values.get("model_type")
    if family not in FAMILIES:
        allowed = ", ".join(map(repr, FAMILIES))
        raise BackboneError(
            f"backbone '{name}' is a '{family}' model; allowed are {allowed} (SigLIP and SigLIP 2 "
            "of a fixed resolution are both 'siglip'), and OpenCLIP checkpoints"
        )
    config_class, default = CLIPConfig, CLIP_FRAMING
    if family == "siglip":
        config_class, default = SiglipConfig, SIGLIP_FRAMING
    try:
        config = config_class.from_dict(values)
    except Exception as error:  # transformers raises many types, all of them about this file
        raise _wrong_config(name, family, error) from error
    framing = _read_framing_of(source, config.vision_config.image_size, default)
    return Description(source, config, family, framing, identity, None)


def _unreadable(name: CheckpointName, revision: str | None, error: Exception) -> BackboneError:
    """Return the error for a checkpoint whose configuration cannot be found or read."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error.__cause__, LocalEntryNotFoundError):
        fault = "something else answers in its place"
        return BackboneError(format_unreachable(name, revision, fault))
    return BackboneError(
        f"backbone '{name}' cannot be found or read ({format_cause(error)}); {ALLOWED}"
    )


def _find_config(
    name: CheckpointName, revision: str | None
) -> tuple[Source, JsonObject, JsonObject | None]:
    """Return where a checkpoint is, the values of its config.json, and OpenCLIP's file.

    A checkpoint that has both files is read as transformers would, if its family is known.
    """
    from transformers import CLIPConfig

    refuse_absent_folder(name)
    is_folder = Path(name).is_dir()
    if is_folder:
        _refuse_incomplete(Path(name))
    locally = is_folder or must_read_locally(name, CONFIGS, revision)
    source = Source(name, revision, locally)
    values = {}
    failure = None
    try:
        values, _ = CLIPConfig.get_config_dict(source.name, **source.options)
    except (OSError, ValueError) as error:
        failure = error
    if values.get("model_type") in FAMILIES:
        return source, values, None
    path = source.find(OPEN_CLIP_CONFIG)
    if path:
        return source, values, json.loads(path.read_text(encoding="utf-8"))
    if failure is not None:
        raise failure
    return source, values, None


def _wrong_config(name: CheckpointName, family: Family, error: Exception) -> BackboneError:
    """Return the error for a config.json from which no model can be made."""
    model = "SigLIP"
    if family == "clip":
        model = "CLIP"
    return BackboneError(f"backbone '{name}' has a config.json that describes no {model} ({error})")


def _read_framing_of(source: Source, side: int, default: Framing) -> Framing:
    """Return the framing that a file of a checkpoint describes, or the default without one.

    Raises:
        BackboneError: the file cannot be read, or it prepares images in another way.
    """
    path = source.find(*PREPROCESSING)
    if not path:
        return default
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return read_framing(values.get("image_processor", values), side, default=default)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BackboneError(
            f"backbone '{source.name}' prepares images in a way that is not understood "
            f"({path.name}: {error})"
        ) from error


def refuse_absent_folder(name: CheckpointName) -> None:
    """Raise if a name can only mean a folder of this machine and the folder does not exist.

    Raises:
        BackboneError: there is no such folder.
    """
    folder = Path(name)
    try:
        if folder.is_dir():
            return
        state = "not there"
        if folder.exists():
            state = "a file"
        # A name of two parts may be on the hub, unless its first part is a folder here.
        is_in_folder = len(folder.parts) == 2 and folder.parent.is_dir()
    except (OSError, ValueError) as error:  # a name that no folder, nor anything on the hub, has
        state = f"impossible ({error})"
        is_in_folder = True
    may_be_on_hub = isinstance(name, str) and NAME_ON_HUB.fullmatch(name) is not None
    if is_in_folder or not may_be_on_hub:
        raise BackboneError(
            f"backbone '{name}' is no folder: {folder.absolute()} is {state}; allowed is "
            "a folder with config.json, weights in safetensors format and a tokenizer, or a name "
            "of the hub"
        )


def _refuse_incomplete(folder: Path) -> None:
    missing = []
    if not any(folder.glob("*.safetensors")):
        missing.append("weights in safetensors format")
    if not any((folder / file).exists() for file in CONFIGS):
        missing.append("config.json")
    if missing:
        raise BackboneError(f"backbone '{folder}' has no {' and no '.join(missing)} in its folder")


def format_cause(error: Exception) -> str:
    """Return an error of transformers on one line, without the advice that follows its cause."""
    return " ".join(str(error).split())[:300]


def _hash_folder(folder: Path) -> str:
    """Return a hash of the weights, tokenizer and preprocessing files; other files do not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".txt", ".model"):
            with path.open("rb") as file:
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            line = f"{path.name} {contents}\n"
            digest.update(line.encode())
    return digest.hexdigest()[:16]


def _shape(encoder: Encoder, config: Any, dim: int, tokens: int = 0) -> EncoderShape:
    """Return the sizes of an encoder."""
    sizes = (config.num_hidden_layers, config.hidden_size, config.intermediate_size)
    if min(sizes) < 1:
        raise BackboneError(f"the {encoder} encoder's configuration has sizes {sizes}")
    return EncoderShape(*sizes, dim, tokens)


def _siglip_dim(config: Any) -> int:
    """Return the number of features of a SigLIP.

    Raises:
        BackboneError: the image encoder has no pool, so that it has no features.
    """
    dim = config.text_config.projection_size
    vision = config.vision_config
    if not getattr(vision, "vision_use_head", True):  # transformers 5.6 leaves it out
        raise BackboneError("vision_use_head is false; allowed is an image encoder with its pool")
    if dim != vision.hidden_size:
        raise BackboneError(
            f"texts have {dim} features, and images {vision.hidden_size}: they cannot be compared"
        )
    return dim
