"""This package as a registered model carries it, for places where it is not installed.

It is the whole package, since where it *is* installed, a process that loads the model before the
package takes all of it from the model. Pictures and pages are left out, and so is the embedded
checkpoint where the model has another backbone.
"""

import shutil
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from study.embedded import EMBEDDED, backbone_path
from study.method.checkpoint import Architecture

PACKAGE = Path(__file__).parents[2]
CODE = (".py", ".jinja")
"""The suffixes of the files that are code; nothing else that lies in the package is carried."""
LIBRARIES = (
    *("mlflow", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "pyyaml"),
    *("safetensors", "torch", "torchvision", "transformers"),
)
"""The libraries that the code imports when it serves. This package is none: no index has it."""

TOKENIZERS = {"siglip": ("protobuf", "sentencepiece"), "open_clip": ("open_clip_torch",)}
"""What reads the vocabularies of some backbones: of a family, or of OpenCLIP's form."""


def carry_code(folder: Path, backbone: str) -> Path:
    """Copy this package, with what serving a backbone needs, and return the copy.

    Args:
        folder: where the copy is made.
        backbone: the name of the model's backbone.
    """
    copy = folder / PACKAGE.name
    checkpoint = Path(backbone_path(EMBEDDED))
    files = [path for path in PACKAGE.rglob("*") if path.suffix in CODE and path.is_file()]
    if backbone == EMBEDDED:
        files += [path for path in checkpoint.iterdir() if path.suffix in (".json", ".safetensors")]
    for file in files:
        target = copy / file.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return copy


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
