"""Low-rank adapters (LoRA) in both encoders, for comparison; they are no parameters of CLIP."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import nn

from study.backbones.backbone import Backbone
from study.errors import ConfigError
from study.method.model import FewShotClassifier, TunedParameter
from study.method.parameters import METHOD
from study.method.training_options import Precision

LORA_TARGETS = ("q_proj", "v_proj")
"""The modules with adapters: the projections of queries and values in each block's attention."""


class LoraClassifier(FewShotClassifier):
    """A classifier with low-rank adapters (Hu et al. 2021) in the attention of both encoders.

    A projection W becomes W + (α / rank)·B·A. B begins at zero, so that the classifier begins as
    CLIP; α of the interpolation scales B, and thereby the product. The adapters are PEFT's.

    Args:
        backbone: the checkpoint, which stays unchanged.
        rank: the rank of the product B·A.
        alpha: α.
        dropout: the share of an adapter's inputs that `apply_dropout` sets to zero.
        generator: the source of the initial A, on the CPU.
        precision: see `FewShotClassifier`.

    Raises:
        ConfigError: PEFT, an optional extra, is not installed.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        generator: torch.Generator,
        precision: Precision = "float32",
    ) -> None:
        peft = import_peft()
        super().__init__(backbone, precision=precision)
        adapters = peft.LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=list(LORA_TARGETS),
        )
        with torch.random.fork_rng():  # PEFT draws A by the global generator
            peft.inject_adapter_in_model(adapters, self.clip)
        self.clip.eval()
        self.tuned = []
        for name, parameter in sorted(self.clip.named_parameters()):
            if ".lora_" not in name:
                continue
            if parameter.dtype == torch.bfloat16:
                # PEFT gives adapters the type of the weights that they adapt.
                parameter.data = parameter.data.float()
            if ".lora_A." in name:
                initial = torch.empty(parameter.shape)
                bound = math.sqrt(5)  # as in PEFT
                nn.init.kaiming_uniform_(initial, a=bound, generator=generator)
                parameter.data.copy_(initial)
            tuned = TunedParameter(name, METHOD, parameter, is_scaled=".lora_B." in name)
            self.tuned.append(tuned)


@contextmanager
def apply_dropout(classifier: FewShotClassifier, seed: int) -> Iterator[None]:
    """Let adapters drop inputs at random within the block.

    PyTorch's dropout draws from the global generators. Their states are restored after the block.

    Args:
        classifier: the classifier; one without dropout is not changed.
        seed: the seed by which inputs are chosen.
    """
    layers = [module for module in classifier.clip.modules() if isinstance(module, nn.Dropout)]
    if not layers:
        yield
        return
    devices = []
    if classifier.device.type == "cuda":
        devices.append(classifier.device)
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()


def import_peft(feature: str = "LoRA", extra: str = "lora") -> ModuleType:
    """Import PEFT and return it.

    Args:
        feature: what needs PEFT, for the message.
        extra: the optional extra that installs it.

    Raises:
        ConfigError: PEFT is not installed.
    """
    try:
        import peft  # an optional extra that takes seconds to import
    except ImportError as error:
        raise ConfigError(
            f"{feature} needs an optional extra: pip install 'clipfit-study[{extra}]' ({error})"
        ) from error
    module: ModuleType = peft
    return module
