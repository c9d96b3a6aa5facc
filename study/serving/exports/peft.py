"""The format ``peft``: adapters of PEFT for the untouched backbone.

A tuned bias is a vector added to a Linear layer's output, which is BEFT; a tuned LayerNorm takes
the place of the backbone's, which is LN tuning. An adapter of PEFT has one kind, so there are two.
"""

import copy
import json
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from study.backbones.description import EMBEDDED, NAME_ON_HUB, backbone_path, read_description
from study.backbones.load_backbone import load_backbone
from study.backbones.siglip import with_published_names
from study.errors import ConfigError, DeltaError
from study.method.delta import load_delta, without_head
from study.method.lora import import_peft
from study.serving.classifier import TunedClassifier
from study.serving.exports.classes import (
    classification,
    crop_notes,
    imports,
    with_transformers,
    write_head,
)
from study.serving.exports.format import ExportGuide
from study.serving.exports.model_folder import save_merged, save_preprocessing
from study.serving.saved_model import SavedModel

BIASES, NORMS, BACKBONE = "biases", "layernorms", "backbone"
"""The folders of the two adapters, and of a backbone that comes with this package."""
_NAME = "default"


def require() -> ModuleType:
    """Return PEFT.

    Raises:
        ConfigError: it is not installed, or has no BEFT.
    """
    peft = import_peft("the format peft", extra="peft")
    if not hasattr(peft, "BeftConfig"):
        raise ConfigError(
            f"the format peft needs BEFT, which PEFT {peft.__version__} has not: pip install "
            "'clipfit-study[peft]'"
        )
    return peft


def write(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write an adapter for each kind of tuned parameter, and the preprocessing.

    Raises:
        DeltaError: nothing is tuned, or something that no adapter can hold.
    """
    info = saved.info
    place = backbone_path(info.backbone)
    untouched = load_backbone(place, revision=info.revision)
    tuned = without_head(load_delta(saved.delta)[0])
    biases, norms = modules_of(untouched.clip, tuned)
    if not (biases or norms):
        raise DeltaError(
            "nothing of the backbone is tuned, so there is no adapter to write; --format hf "
            "writes the backbone, and a linear head beside it"
        )
    if biases:
        adapter = _adapter(untouched.clip, "BeftConfig", biases)
        for name in biases:
            change = tuned[f"{name}.bias"] - untouched.clip.get_parameter(f"{name}.bias")
            adapter.get_base_model().get_submodule(name).beft_bias[_NAME].data.copy_(change)
        _save(adapter, folder / BIASES, saved)
    if norms:  # an adapter begins as a copy of what it takes the place of
        _save(_adapter(model.backbone.clip, "LNTuningConfig", norms), folder / NORMS, saved)
    # Transformers loads neither by its name: the one is in this package, and OpenCLIP's form is
    # another.
    is_packaged = info.backbone == EMBEDDED
    copied = is_packaged or read_description(place, revision=info.revision).open_clip is not None
    if copied:
        save_merged(folder / BACKBONE, untouched)
    save_preprocessing(folder, untouched)
    write_head(folder, model)
    return ExportGuide(
        _loading(saved, model, adapters := _adapters(biases, norms), copied=copied),
        (
            *_notes(adapters, biases, norms),
            *([] if copied or has_hub_name(saved) else [_folder_note(saved)]),
        ),
        limits=crop_notes(model.backbone),
    )


def has_hub_name(saved: SavedModel) -> bool:
    """Return whether the backbone has a name of the hub; else it is a folder of this machine."""
    return NAME_ON_HUB.fullmatch(saved.info.backbone) is not None


def modules_of(model: nn.Module, tuned: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the Linear layers with a tuned bias, and the tuned LayerNorms, by their names.

    Args:
        model: the model.
        tuned: the names of the tuned parameters.

    Raises:
        DeltaError: a parameter is neither.
    """
    biases, norms, modules = set[str](), set[str](), dict(model.named_modules())
    for parameter in tuned:
        name, _, tensor = parameter.rpartition(".")
        module = modules.get(name)
        if isinstance(module, nn.LayerNorm):
            norms.add(name)
        elif isinstance(module, nn.Linear) and tensor == "bias":
            biases.add(name)
        else:
            raise DeltaError(
                f"{parameter} (of {type(module).__name__}) is tuned, for which PEFT has no "
                "adapter; allowed are the biases of Linear layers and LayerNorms, and --format hf "
                "holds whatever is tuned"
            )
    return sorted(biases), sorted(norms)


def _adapter(model: Any, kind: str, names: Iterable[str]) -> Any:
    """Return a copy of a model with an adapter in the modules of these names."""
    peft = require()
    pattern = "|".join(map(re.escape, names))
    config = getattr(peft, kind)(target_modules=f"({pattern})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it knows no sizes of LayerNorms, which it does not need
        return peft.get_peft_model(copy.deepcopy(with_published_names(model)), config)


def _save(adapter: Any, folder: Path, saved: SavedModel) -> None:
    config = adapter.peft_config[_NAME]
    config.base_model_name_or_path, config.revision = saved.backbone_name, saved.info.revision
    adapter.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's, which says nothing


def _adapters(biases: list[str], norms: list[str]) -> list[str]:
    return [name for name, own in ((BIASES, biases), (NORMS, norms)) if own]


def _loading(
    saved: SavedModel, model: TunedClassifier, adapters: list[str], *, copied: bool
) -> str:
    revision = f', revision="{saved.info.revision}"' if saved.info.revision else ""
    setting = ""
    if copied:
        place = f'f"{{folder}}/{BACKBONE}"'
    elif has_hub_name(saved):
        place = f'"{saved.backbone_name}"{revision}'
    else:
        beside = json.dumps(f"/{saved.backbone_name}", ensure_ascii=False)
        place, setting = "backbone", f"backbone = folder + {beside}  # where the backbone is\n"
    libraries = (
        "from peft import PeftModel",
        "from transformers import AutoImageProcessor, AutoModel, AutoTokenizer",
    )
    return f"""\
{imports(model, *libraries)}
torch.set_grad_enabled(False)
folder = "."  # the folder of this file
{setting}model = AutoModel.from_pretrained({place}, dtype=torch.float32)
for adapter in {adapters!r}:
    model = PeftModel.from_pretrained(model, f"{{folder}}/{{adapter}}").merge_and_unload()
tokenizer = AutoTokenizer.from_pretrained(folder)
processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
{classification(saved, model, with_transformers(model.backbone))}"""


def _folder_note(saved: SavedModel) -> str:
    return (
        f"The backbone was a folder named `{saved.backbone_name}`, which is not among these files. "
        "Copy it beside the adapters, or set `backbone` to its place. Its fingerprint is "
        f"`{saved.info.fingerprint}`."
    )


def _notes(adapters: list[str], biases: list[str], norms: list[str]) -> tuple[str, ...]:
    counts = {
        BIASES: f"`{BIASES}` has BEFT's vectors for {len(biases)} Linear layers",
        NORMS: f"`{NORMS}` has {len(norms)} LayerNorms",
    }
    notes = [f"{'; '.join(counts[name] for name in adapters)}. They need PEFT 0.20 or newer."]
    if len(adapters) > 1:
        notes.append(
            "An adapter of PEFT has one kind. So each is merged into the model before the next is "
            "loaded; the order does not matter."
        )
    if norms:
        notes.append("PEFT warns of the layer type LayerNorm, which can be ignored.")
    return tuple(notes)
