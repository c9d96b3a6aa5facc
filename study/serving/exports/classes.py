"""The classes that an exported model is used with: a file of them, and the code that reads it."""

import json
from pathlib import Path
from typing import Any

from study.data.prompts import prompts
from study.method.backbone import Backbone
from study.method.delta import MERGED_HEAD, save_head
from study.method.head import Head
from study.serving.classifier import TunedClassifier
from study.serving.saved import SavedModel

CLASSES = "classes.json"
"""The file of class names and prompts."""
IMAGES = 'images = [Image.open("photo.png").convert("RGB")]'
"""The line of the code that reads the images."""
ANSWER = """\
for row in probabilities:
    print(names[row.argmax()], float(row.max()))
"""
"""The last lines of the code."""


def write_classes(folder: Path, saved: SavedModel, model: TunedClassifier) -> None:
    """Write `CLASSES`: the class names, the templates, and the prompts of each class."""
    names, templates = list(model.class_names), list(saved.info.templates)
    found = {
        "class_names": names,
        "templates": templates,
        "prompts": prompts(names, templates),
        "from_head": list(model.from_head),
    }
    (folder / CLASSES).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def write_head(folder: Path, model: TunedClassifier) -> None:
    """Write the rows of a linear head that the classes have, if there are any."""
    if names := model.from_head:
        places = [model.class_names.index(name) for name in names]
        save_head(folder, Head(model.class_features[places], names))


def classification(saved: SavedModel, model: TunedClassifier) -> str:
    """Return code that classifies images with a model of transformers.

    It goes on where ``folder``, ``model``, ``tokenizer`` and ``processor`` are known.
    """
    templates, padding = len(saved.info.templates), padding_of(model.backbone)
    lines = [
        IMAGES,
        f'classes = json.load(open(f"{{folder}}/{CLASSES}"))',
        'names = classes["class_names"]',
        'prompts = [prompt for of_class in classes["prompts"] for prompt in of_class]',
        f'tokens = tokenizer(prompts, padding={padding}, return_tensors="pt")',
        'pixels = processor(images, return_tensors="pt")',
        "text = normalize(model.get_text_features(**tokens).pooler_output, dim=-1)",
        "image = normalize(model.get_image_features(**pixels).pooler_output, dim=-1)",
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
    return "\n".join(lines) + f"\n{ANSWER}"


def imports(model: TunedClassifier, *further: str) -> str:
    """Return the imports of `classification`, and further lines, sorted.

    Args:
        model: the model; one with a linear head needs safetensors.
        further: lines that import from libraries.
    """
    head = ["from safetensors import safe_open"] if model.from_head else []
    lines = [
        "from PIL import Image",
        "from torch.nn.functional import normalize",
        *head,
        *further,
    ]
    ordered = sorted(lines, key=lambda line: line.split()[1].lower())
    return "\n".join(["import json", "", "import torch", *ordered, ""])


def padding_of(backbone: Backbone) -> str:
    """Return what ``padding`` of the tokenizer is in code; SigLIP was trained at full length."""
    config: Any = backbone.clip.config
    return '"max_length"' if str(config.model_type).startswith("siglip") else "True"
