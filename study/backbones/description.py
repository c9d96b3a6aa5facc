"""The description of a checkpoint by its configuration, read without loading its weights."""

import hashlib
import json
import os
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
ALLOWED = "expected the hub name or folder of a Hugging Face CLIP with safetensors weights"
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
    architecture: Architecture
    """Its sizes, family, framing and identity."""
    open_clip: Mapping[str, Any] | None = None
    """The contents of ``open_clip_config.json`` of an OpenCLIP checkpoint; None for others."""


@silence_transformers()  # it warns of default ids that nothing reads
def read_description(name: CheckpointName, *, revision: str | None = None) -> Description:
    """Read the description of a checkpoint.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the configuration cannot be found or read, or describes a model of an unknown
            family; or a local folder has no safetensors weights.
    """
    # They take a second to import, which --help can do without.
    from transformers import CLIPConfig, SiglipConfig

    try:
        source, values, open_clip = _find_config(name, revision)
    except (OSError, ValueError) as error:
        raise _unreadable(name, revision, error) from error
    family: Family = "clip"
    if open_clip is not None:
        values, framing = clip_values(name, open_clip), open_clip_framing(name, open_clip)
    elif values.get("model_type") not in FAMILIES:
        allowed = ", ".join(map(repr, FAMILIES))
        raise BackboneError(
            f"backbone '{name}' is a '{values.get('model_type')}' model; expected one of {allowed} "
            "('siglip' includes SigLIP 2 of a fixed resolution), or an OpenCLIP checkpoint"
        )
    else:
        family = values["model_type"]
        framing = CLIP_FRAMING if family == "clip" else SIGLIP_FRAMING
    try:
        config = (CLIPConfig if family == "clip" else SiglipConfig).from_dict(values)
        architecture = _architecture(config, family)
    except Exception as error:  # transformers raises many types, all of them about this file
        model = "CLIP" if family == "clip" else "SigLIP"
        raise BackboneError(
            f"backbone '{name}' has a config.json that doesn't describe a {model} ({error})"
        ) from error
    if open_clip is None:
        framing = _read_framing_of(source, architecture.image_size, framing)
    architecture = architecture._replace(
        checkpoint=_identity(name, revision), framing=framing, open_clip=open_clip is not None
    )
    return Description(source, architecture, open_clip)


def _architecture(config: Any, family: Family) -> Architecture:
    """Return the sizes of a model by its configuration in transformers.

    Raises:
        BackboneError: a SigLIP has no features of images, or none to compare with those of texts.
    """
    vision = config.vision_config
    if family == "clip":
        dim = int(config.projection_dim)
    else:
        dim = config.text_config.projection_size
        if not getattr(vision, "vision_use_head", True):  # transformers 5.6 leaves it out
            raise BackboneError(
                "vision_use_head is false; expected an image encoder with a pooling head"
            )
        if dim != vision.hidden_size:
            raise BackboneError(
                f"text features have size {dim}, but image features {vision.hidden_size}; expected "
                "equal sizes"
            )
    return Architecture(
        text=_shape("text", config.text_config, dim),
        vision=_shape("vision", vision, dim),
        image_size=vision.image_size,
        dim=dim,
        family=family,
        config=config,
    )


def read_architecture(name: CheckpointName, *, revision: str | None = None) -> Architecture:
    """Read the architecture from a checkpoint's configuration; see `read_description`."""
    return read_description(name, revision=revision).architecture


def _unreadable(name: CheckpointName, revision: str | None, error: Exception) -> BackboneError:
    """Return the error for a checkpoint whose configuration cannot be found or read."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error.__cause__, LocalEntryNotFoundError):
        fault = "the response is not from the hub"
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

    path = str(name)
    is_folder = os.path.isdir(path)  # noqa: PTH112 -- a name that no folder can have is no error
    # A name of two parts may be on the hub, unless its first part is a folder here.
    is_in_folder = "/" in path and os.path.isdir(os.path.dirname(path))  # noqa: PTH112, PTH120
    if is_folder:
        _refuse_incomplete(Path(name))
    elif is_in_folder or isinstance(name, Path) or not NAME_ON_HUB.fullmatch(name):
        state = "is a file" if os.path.exists(path) else "does not exist"  # noqa: PTH110
        raise BackboneError(
            f"backbone '{name}' is not a folder: {Path(name).absolute()} {state}; expected a hub "
            "name, or a folder with config.json, weights in safetensors format and a tokenizer"
        )
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
    file = source.find(OPEN_CLIP_CONFIG)
    if file:
        return source, values, json.loads(file.read_text(encoding="utf-8"))
    if failure is not None:
        raise failure
    return source, values, None


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
            f"backbone '{source.name}' prepares images in an unsupported way ({path.name}: {error})"
        ) from error


def _refuse_incomplete(folder: Path) -> None:
    missing = []
    if not any(folder.glob("*.safetensors")):
        missing.append("weights in safetensors format")
    if not any((folder / file).exists() for file in CONFIGS):
        missing.append("config.json")
    if missing:
        raise BackboneError(f"backbone '{folder}' lacks {' and '.join(missing)}")


def format_cause(error: Exception) -> str:
    """Return an error of transformers on one line, without the advice that follows its cause."""
    return " ".join(str(error).split())[:300]


def _identity(name: CheckpointName, revision: str | None) -> str:
    """Return the identity of a checkpoint, see `Architecture.checkpoint`.

    Of a folder it is a hash of weights, tokenizer and preprocessing; other files do not count.
    """
    folder = Path(name)
    if not folder.is_dir():
        path = Source(name, revision).find(*CONFIGS)
        return f"{name}@{path and path.parent.name}"  # the commit
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".txt", ".model"):
            with path.open("rb") as file:
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            line = f"{path.name} {contents}\n"
            digest.update(line.encode())
    return digest.hexdigest()[:16]


def _shape(encoder: Encoder, config: Any, dim: int) -> EncoderShape:
    """Return the sizes of an encoder."""
    sizes = (config.num_hidden_layers, config.hidden_size, config.intermediate_size)
    if min(sizes) < 1:
        raise BackboneError(f"the {encoder} encoder's configuration has sizes {sizes}")
    return EncoderShape(*sizes, dim)
