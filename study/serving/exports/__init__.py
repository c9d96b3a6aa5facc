"""Tuned models as folders that other libraries load, without this package.

A further format is a module with a function that writes it, and a row of `FORMATS`.
"""

from pathlib import Path

from study.errors import ConfigError
from study.serving.exports import hf, onnx, openclip, peft
from study.serving.exports.classes import write_classes
from study.serving.exports.format import ExportGuide, Format
from study.serving.saved_model import SavedModel

FORMATS = {
    "hf": Format(
        "an ordinary Hugging Face folder",
        "transformers",
        "zero-shot-image-classification",
        hf.write,
    ),
    "peft": Format(
        "a folder of PEFT adapters",
        "peft",
        "zero-shot-image-classification",
        peft.write,
        peft.require,
    ),
    "openclip": Format(
        "a folder of OpenCLIP",
        "open_clip",
        "zero-shot-image-classification",
        openclip.write,
    ),
    "onnx": Format(
        "an ONNX graph",
        "onnx",
        "image-classification",
        onnx.write,
        onnx.require,
    ),
}
"""Every format, by the name that ``clipfit-study export --format`` takes."""


def find_format(name: str) -> Format:
    """Return the format of a name, once it is known that its libraries are installed.

    Raises:
        ConfigError: there is no such format, or an optional library is missing.
    """
    if name not in FORMATS:
        raise ConfigError(f"--format is {name!r}; allowed are {', '.join(FORMATS)}")
    FORMATS[name].require()
    return FORMATS[name]


def write_export(saved: SavedModel, chosen: Format, folder: Path) -> ExportGuide:
    """Write a model in a format into a folder, with its class names and prompts beside it.

    Args:
        saved: the model.
        chosen: the format.
        folder: the folder, which is made.

    Raises:
        StudyError: the model cannot be loaded, or the format cannot hold it.
    """
    model = saved.load(device="cpu")
    folder.mkdir()
    write_classes(folder, saved, model)
    return chosen.write(saved, model, folder)
