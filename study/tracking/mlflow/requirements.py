"""The libraries that a registered model needs where it is loaded.

The code of this package is in the model, so that it need not be installed there.
"""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from study.backbones.architecture import Architecture

LIBRARIES = (
    *("mlflow", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "pyyaml"),
    *("safetensors", "torch", "torchvision", "transformers"),
)
"""The libraries that the code imports when it serves. This package is none: no index has it."""

TOKENIZERS = {"siglip": ("protobuf", "sentencepiece"), "open_clip": ("open_clip_torch",)}
"""What reads the vocabularies of some backbones: of a family, or of OpenCLIP's form."""


def requirements(backbone: Architecture) -> list[str]:
    """Return the installed versions of all that a served model imports, as pip takes them.

    A version such as ``2.13.0+cpu`` loses its local part, which package indexes do not have. Of
    `TOKENIZERS`, those that are not installed were not needed here either.
    """
    further = [*TOKENIZERS.get(backbone.family, ())]
    further += TOKENIZERS["open_clip"] if backbone.open_clip else ()
    found = {name: version(name) for name in LIBRARIES}
    for name in further:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return [f"{name}=={installed.partition('+')[0]}" for name, installed in found.items()]
