"""The format ``openclip``: a folder that OpenCLIP loads."""

import json
from pathlib import Path

from safetensors.torch import save_file

from study.backbones.openclip_checkpoint import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, to_open_clip
from study.errors import DeltaError
from study.serving.classifier import TunedClassifier
from study.serving.exports.format import ExportGuide, render_guide, write_head
from study.serving.exports.hf import save_preprocessing
from study.serving.saved_model import SavedModel


def write_openclip(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write the tuned model under OpenCLIP's names, and its tokenizer.

    Raises:
        BackboneError: OpenCLIP does not have the network of the backbone.
        DeltaError: OpenCLIP would pool another token of a text.
    """
    backbone = model.backbone
    values, tensors = to_open_clip(backbone.clip)
    refuse_other_pooling(model)
    values["text_cfg"]["hf_tokenizer_name"] = "."  # the folder itself
    resize_mode = "squash" if backbone.framing.squash else "shortest"
    preprocessing = {
        "mean": list(backbone.image_mean),
        "std": list(backbone.image_std),
        "interpolation": backbone.framing.interpolation,
        "resize_mode": resize_mode,
    }
    config = {"model_cfg": values, "preprocess_cfg": preprocessing}
    (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / OPEN_CLIP_WEIGHTS)
    save_preprocessing(folder, backbone)
    write_head(folder, model)
    loading = render_guide("loading.py.jinja", saved, model, format="openclip")
    note = (
        "It needs OpenCLIP 3.0 or newer. On the Hugging Face hub, `hf_tokenizer_name` in "
        "`open_clip_config.json` is to be the name of the repository, from which it loads "
        "the tokenizer."
    )
    return ExportGuide(loading, (note,))


def refuse_other_pooling(model: TunedClassifier) -> None:
    """Raise if OpenCLIP, which pools the largest id of a text, would not pool the end token.

    Raises:
        DeltaError: the tokenizer has ids above that of the end token.
    """
    text = model.backbone.clip.config.text_config
    largest = max(model.backbone.tokenizer.get_vocab().values())
    if text.eos_token_id not in (2, largest):  # by 2, transformers pools the largest id as well
        raise DeltaError(
            f"OpenCLIP pools the token with the largest id of a text, and the end of texts has id "
            f"{text.eos_token_id} of 0 to {largest} here; expected a tokenizer whose last id it "
            "is, and --format hf holds any"
        )
