"""Tuned models as folders that other libraries load, without this package.

To add a format, write a module with a function that writes it, and add a row to `FORMATS`.
"""

from pathlib import Path

from safetensors import SafetensorError

from study.errors import ConfigError
from study.serving.exports import hf, onnx, openclip, peft
from study.serving.exports.format import ExportGuide, Format, write_classes
from study.serving.saved_model import SavedModel

FORMATS = {
    "hf": Format("an ordinary Hugging Face folder", "transformers", hf.write_hf),
    "peft": Format(
        "a folder of PEFT adapters", "peft", peft.write_adapters, peft.import_peft_with_beft
    ),
    "openclip": Format("a folder of OpenCLIP", "open_clip", openclip.write_openclip),
    "onnx": Format(
        "an ONNX graph",
        "onnx",
        onnx.write_graph,
        onnx.import_onnxruntime,
        task="image-classification",
    ),
}
"""Every format, by its name for ``clipfit-study export --format``."""


def find_format(name: str) -> Format:
    """Return the format of a name, after checking that its libraries are installed.

    Raises:
        ConfigError: there is no such format, or an optional library is missing.
    """
    if name not in FORMATS:
        raise ConfigError(f"--format is {name!r}; expected one of {', '.join(FORMATS)}")
    FORMATS[name].check_installed()
    return FORMATS[name]


def write_export(saved: SavedModel, export_format: Format, folder: Path) -> ExportGuide:
    """Write a model in a format into a new folder, with its class names and prompts.

    Args:
        saved: the model.
        export_format: the format.
        folder: the folder, which is created.

    Raises:
        StudyError: the model cannot be loaded, or the format cannot hold it.
        OSError: a file cannot be written.
    """
    model = saved.load_classifier(device="cpu")
    folder.mkdir()
    write_classes(folder, saved, model)
    try:
        return export_format.write(saved, model, folder)
    except SafetensorError as error:  # of a full disk, for which others raise an OSError
        raise OSError(str(error)) from error
