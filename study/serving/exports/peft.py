"""The format ``peft``: adapters of PEFT for the untouched backbone.

A tuned bias is a vector added to a Linear layer's output, which is BEFT. A tuned LayerNorm replaces
that of the backbone, which is LN tuning. An adapter of PEFT has one kind, so there are two of them.
"""

import copy
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from study.backbones.description import backbone_path, read_description
from study.backbones.load_backbone import load_backbone
from study.backbones.siglip import with_published_names
from study.errors import ConfigError, DeltaError
from study.method.delta import load_delta, without_head
from study.method.lora import import_peft
from study.serving.classifier import TunedClassifier
from study.serving.exports.format import ExportGuide, crop_notes, render_guide, write_head
from study.serving.exports.hf import save_merged, save_preprocessing
from study.serving.saved_model import SavedModel

BIASES, NORMS, BACKBONE = "biases", "layernorms", "backbone"
"""The folders of the two adapters, and of a backbone that has no name on the hub."""
_NAME = "default"


def import_peft_with_beft() -> ModuleType:
    """Return PEFT.

    Raises:
        ConfigError: PEFT is not installed, or its version does not have BEFT.
    """
    peft = import_peft("the format peft", extra="peft")
    if not hasattr(peft, "BeftConfig"):
        raise ConfigError(
            f"the format peft needs BEFT, which PEFT {peft.__version__} has not: pip install "
            "'clipfit-study[peft]'"
        )
    return peft


def write_adapters(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write an adapter for each kind of tuned parameter, and the preprocessing.

    Raises:
        DeltaError: nothing is tuned, or a tuned parameter has no kind of adapter.
    """
    info = saved.info
    checkpoint = backbone_path(info.backbone)
    untouched = load_backbone(checkpoint, revision=info.revision)
    tensors, _ = load_delta(saved.delta)
    tuned = without_head(tensors)
    biases, norms = find_tuned_modules(untouched.clip, tuned)
    if not (biases or norms):
        raise DeltaError(
            "nothing of the backbone is tuned, so there is no adapter to write; --format hf "
            "writes the backbone, and a linear head beside it"
        )
    adapters = []
    if biases:
        adapters.append(BIASES)
        adapter = _add_adapter(untouched.clip, "BeftConfig", biases)
        for name in biases:
            change = tuned[f"{name}.bias"] - untouched.clip.get_parameter(f"{name}.bias")
            adapter.get_base_model().get_submodule(name).beft_bias[_NAME].data.copy_(change)
        _save(adapter, folder / BIASES, saved)
    if norms:
        adapters.append(NORMS)
        # The adapter begins as a copy of the LayerNorms, which are tuned in this model.
        adapter = _add_adapter(model.backbone.clip, "LNTuningConfig", norms)
        _save(adapter, folder / NORMS, saved)
    # Others can load a backbone by its name if it is on the hub in the form of transformers.
    description = read_description(checkpoint, revision=info.revision)
    is_copied = not saved.is_on_hub or description.open_clip is not None
    if is_copied:
        save_merged(folder / BACKBONE, untouched)
    save_preprocessing(folder, untouched)
    write_head(folder, model)
    values = {"format": "peft", "adapters": adapters, "copied": is_copied}
    loading = render_guide("loading.py.jinja", saved, model, **values)
    note = (
        f"`{BIASES}` has BEFT's vectors for {len(biases)} Linear layers, `{NORMS}` has "
        f"{len(norms)} LayerNorms. They need PEFT 0.20 or newer. An adapter of PEFT has one kind, "
        "so each is merged into the model before the next is loaded; the order does not matter. "
        "PEFT warns of the layer type LayerNorm, which can be ignored."
    )
    return ExportGuide(loading, (note, *crop_notes(model.backbone)))


def find_tuned_modules(model: nn.Module, tuned: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the Linear layers with a tuned bias, and the tuned LayerNorms, by their names.

    Args:
        model: the model.
        tuned: the names of the tuned parameters.

    Raises:
        DeltaError: a parameter is of neither kind.
    """
    biases = set()
    norms = set()
    modules = dict(model.named_modules())
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
                "adapter; expected the biases of Linear layers and LayerNorms, and --format hf "
                "holds whatever is tuned"
            )
    return sorted(biases), sorted(norms)


def _add_adapter(model: Any, kind: str, names: Iterable[str]) -> Any:
    """Return a copy of a model with an adapter in the modules of these names."""
    peft = import_peft_with_beft()
    pattern = "|".join(re.escape(name) for name in names)
    config = getattr(peft, kind)(target_modules=f"({pattern})")
    with warnings.catch_warnings():
        # PEFT warns that it does not know the sizes of LayerNorms, which it does not need.
        warnings.simplefilter("ignore")
        return peft.get_peft_model(copy.deepcopy(with_published_names(model)), config)


def _save(adapter: Any, folder: Path, saved: SavedModel) -> None:
    config = adapter.peft_config[_NAME]
    config.base_model_name_or_path = saved.backbone_name
    config.revision = saved.info.revision
    adapter.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # an empty template of PEFT
