"""The libraries that a registered model needs where it is loaded, beside the code in it."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from study.backbones.architecture import Architecture

LIBRARIES = (
    *("mlflow", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "pyyaml"),
    *("safetensors", "torch", "torchvision", "transformers"),
)
"""The libraries that a served model imports. This package is left out, as no index has it."""
TOKENIZERS = {"siglip": ("protobuf", "sentencepiece"), "open_clip": ("open_clip_torch",)}
"""The libraries that read the vocabularies of a family of backbones, or of OpenCLIP's format."""


def requirements(backbone: Architecture) -> list[str]:
    """Return the requirements of a served model for pip: libraries with their installed versions.

    A version such as ``2.13.0+cpu`` loses its local part, which package indexes do not have. A
    library of `TOKENIZERS` that is not installed is left out, as it was not needed here either.
    """
    formats = [backbone.family, *(["open_clip"] if backbone.open_clip else [])]
    versions = {name: version(name) for name in LIBRARIES}
    for name in (name for kind in formats for name in TOKENIZERS.get(kind, ())):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return [f"{name}=={installed.partition('+')[0]}" for name, installed in versions.items()]
