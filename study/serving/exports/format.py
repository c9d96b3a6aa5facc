"""The description of a format for exported models, and what formats share: classes and guide."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from study.backbones.backbone import Backbone
from study.data.prompts import prompts
from study.serving.classifier import TunedClassifier
from study.serving.saved_model import SavedModel

CLASSES_FILE = "classes.json"
"""The file of class names and prompts."""
MERGED_HEAD = "head.safetensors"
"""The file of a linear head, which is not part of a merged model."""


@dataclass(frozen=True)
class ExportGuide:
    """How to use the files of an export; a model card shows it."""

    loading: str
    """Python code that loads the files from the folder ``.`` and prints the class of
    ``photo.png``, without code of this package."""
    notes: tuple[str, ...] = ()
    """Whole sentences on the files and their answers, in Markdown."""


@dataclass(frozen=True)
class Format:
    """A row of `study.serving.exports.FORMATS`."""

    title: str
    """A noun for the folder."""
    library: str
    """The Hugging Face hub's name for the library that loads it."""
    write: Callable[[SavedModel, TunedClassifier, Path], ExportGuide]
    """Write the files of a model, which is loaded on the CPU, into an empty folder."""
    check_installed: Callable[[], object] = lambda: None
    """Raise a `ConfigError` if an optional library is not installed."""
    task: str = "zero-shot-image-classification"
    """The hub's name for the model's task."""


def write_classes(folder: Path, saved: SavedModel, model: TunedClassifier) -> None:
    """Write `CLASSES_FILE`: the class names, the templates, and the prompts of each class.

    ``from_head`` has the names of the classes that have a row of the linear head.
    """
    templates = list(saved.info.templates)
    contents = {
        "class_names": list(model.class_names),
        "templates": templates,
        "prompts": prompts(saved.info.class_names, templates),
        "from_head": list(model.from_head),
    }
    (folder / CLASSES_FILE).write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def write_head(folder: Path, model: TunedClassifier) -> None:
    """Write the rows of the linear head as `MERGED_HEAD`, if there are any.

    The tensor ``rows`` is (classes, dim) float32 of unit length, in the order of ``from_head`` in
    `CLASSES_FILE`.
    """
    if model.from_head:
        rows = model.class_features[[model.class_names.index(name) for name in model.from_head]]
        save_file({"rows": rows}, folder / MERGED_HEAD)


def crop_notes(backbone: Backbone) -> tuple[str, ...]:
    """Return a note on the image shapes that transformers crops differently, if images are cropped.

    Of a margin of d pixels, transformers cuts d // 2 at the left or top, torchvision round(d / 2).
    """
    if backbone.framing.squash:
        return ()
    return (
        "The middle of an image is what the model reads. If the longer side, once scaled, has 3, "
        "7, 11, … pixels more than the shorter, transformers crops one pixel beside what "
        "clipfit-study, OpenAI's code and OpenCLIP crop, and probabilities differ.",
    )


def render_guide(template: str, saved: SavedModel, model: TunedClassifier, **values: object) -> str:
    """Return a part of the guide to an export, such as the code that loads it.

    Args:
        template: the name of its template in this folder.
        saved: the model.
        model: the model, loaded.
        values: what the template names besides.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # which only exports need

    environment = Environment(  # noqa: S701 -- code and Markdown, no HTML
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    values |= {"classes_file": CLASSES_FILE, "merged_head": MERGED_HEAD}
    return str(environment.get_template(template).render(saved=saved, model=model, **values))
