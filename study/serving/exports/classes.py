"""Write the classes of an exported model to a file, and the code that uses them."""

import json
from collections.abc import Sequence
from pathlib import Path

from study.backbones.backbone import Backbone
from study.data.prompts import prompts
from study.method.head import Head
from study.serving.classifier import TunedClassifier
from study.serving.exports.model_folder import MERGED_HEAD, save_head
from study.serving.saved_model import SavedModel

CLASSES_FILE = "classes.json"
"""The file of class names and prompts."""
OPEN_IMAGES = 'images = [Image.open("photo.png").convert("RGB")]'
"""The line of the loading code that reads the images."""
PRINT_ANSWERS = """\
for row in probabilities:
    print(names[row.argmax()], float(row.max()))
"""
"""The last lines of the loading code."""


def write_classes(folder: Path, saved: SavedModel, model: TunedClassifier) -> None:
    """Write `CLASSES_FILE`: the class names, the templates, and the prompts of each class."""
    names = list(model.class_names)
    templates = list(saved.info.templates)
    contents = {
        "class_names": names,
        "templates": templates,
        "prompts": prompts(names, templates),
        "from_head": list(model.from_head),
    }
    (folder / CLASSES_FILE).write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def write_head(folder: Path, model: TunedClassifier) -> None:
    """Write the rows of the linear head for the model's classes, if there are any."""
    names = model.from_head
    if names:
        class_ids = [model.class_names.index(name) for name in names]
        save_head(folder, Head(model.class_features[class_ids], names))


def transformers_encoding(backbone: Backbone) -> list[str]:
    """Return the lines that compute ``text`` and ``image`` with transformers.

    They encode ``prompts`` and ``images`` by ``model``, ``tokenizer`` and ``processor``.
    """
    padding = padding_arguments(backbone)
    return [
        f'tokens = tokenizer(prompts, {padding}, return_tensors="pt")["input_ids"]',
        "text = model.get_text_features(input_ids=tokens).pooler_output",
        'image = model.get_image_features(**processor(images, return_tensors="pt")).pooler_output',
    ]


def crop_notes(backbone: Backbone) -> tuple[str, ...]:
    """Return a note on the image shapes that transformers crops differently, if images are cropped.

    Of a margin of d pixels, transformers cuts d // 2 at the left or top, torchvision round(d / 2).
    """
    if backbone.framing.squash:
        return ()
    note = (
        "The middle of an image is what the model reads. If the longer side, once scaled, has 3, "
        "7, 11, … pixels more than the shorter, transformers crops one pixel beside what "
        "clipfit-study, OpenAI's code and OpenCLIP crop, and probabilities differ."
    )
    if backbone.image_size == 224:
        note += " Photographs of 4:3, 3:2 and 16:9 are not affected."
    return (note,)


def classification_code(saved: SavedModel, model: TunedClassifier, encode: Sequence[str]) -> str:
    """Return code that classifies images, to be put after the code that loads the model.

    Args:
        saved: the model.
        model: the model, loaded.
        encode: the lines that compute features, see `transformers_encoding`.
    """
    templates = len(saved.info.templates)
    lines = [
        OPEN_IMAGES,
        f'classes = json.load(open(f"{{folder}}/{CLASSES_FILE}"))',
        'names = classes["class_names"]',
        'prompts = [prompt for of_class in classes["prompts"] for prompt in of_class]',
        *encode,
        "text, image = normalize(text, dim=-1), normalize(image, dim=-1)",
    ]
    if templates > 1:  # the mean of each class's prompts
        lines.append(f"text = normalize(text.unflatten(0, (-1, {templates})).mean(dim=1), dim=-1)")
    if model.from_head:
        lines += [
            "# The linear head: the rows of its classes, in place of their text features.",
            f'with safe_open(f"{{folder}}/{MERGED_HEAD}", "pt") as head:',
            '    own = [names.index(name) for name in json.loads(head.metadata()["class_names"])]',
            '    text[own] = head.get_tensor("rows")',
        ]
    lines.append("probabilities = (model.logit_scale.exp() * image @ text.T).softmax(dim=-1)")
    return "\n".join(lines) + f"\n{PRINT_ANSWERS}"


def import_lines(model: TunedClassifier, *library_lines: str) -> str:
    """Return the imports of `classification_code` and of the code before it, sorted.

    Args:
        model: the model; one with a linear head needs safetensors.
        library_lines: the imports of the code that loads the model.
    """
    lines = [
        "from PIL import Image",
        "from torch.nn.functional import normalize",
        *library_lines,
    ]
    if model.from_head:
        lines.append("from safetensors import safe_open")
    ordered = sorted(lines, key=lambda line: line.split()[1].lower())
    return "\n".join(["import json", "", "import torch", *ordered, ""])


def padding_arguments(backbone: Backbone) -> str:
    """Return the tokenizer's arguments for padding: SigLIP pads to the length of its training."""
    if backbone.family == "clip":
        return "padding=True"
    longest = backbone.clip.config.text_config.max_position_embeddings
    return f'padding="max_length", max_length={longest}'
