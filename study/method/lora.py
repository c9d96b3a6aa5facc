"""Low-rank adapters (LoRA) in both encoders, a peer of CLIPFit; they are no parameters of CLIP."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import nn

from study.backbones.backbone import Backbone
from study.errors import ConfigError
from study.method.model import FewShotClassifier, TunedParameter
from study.method.parameters import PEER
from study.method.recipe import Precision
from study.method.subsets import parse

LORA_TARGETS = ("q_proj", "v_proj")
"""The modules with adapters: the projections of queries and values in each block's attention."""


class LoraClassifier(FewShotClassifier):
    """A classifier with low-rank adapters (Hu et al. 2021) in the attention of both encoders.

    A projection W becomes W + (α / rank)·B·A. B begins at zero, so that the classifier begins as
    CLIP; the strength scales B, and thereby the product. The adapters are PEFT's.

    Args:
        backbone: the checkpoint, which stays unchanged.
        rank: the rank of the product B·A.
        alpha: α.
        dropout: the share of an adapter's inputs that `dropping_out` sets to zero.
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
        super().__init__(backbone, parse("none"), precision=precision)
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
            if ".lora_" in name and parameter.dtype == torch.bfloat16:
                # PEFT gives them the type of the weights that they adapt, here that of held ones.
                parameter.data = parameter.data.float()
            if ".lora_A." in name:
                drawn = torch.empty(parameter.shape)
                nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)  # as PEFT does
                parameter.data.copy_(drawn)
            if ".lora_" in name:
                is_scaled = ".lora_B." in name
                self.tuned.append(TunedParameter(name, PEER, parameter, is_scaled=is_scaled))


@contextmanager
def dropping_out(classifier: FewShotClassifier, seed: int) -> Iterator[None]:
    """Let adapters drop out inputs within the block, drawn from a seed.

    The global generators, which PyTorch's dropout draws from, are afterwards as they were before.

    Args:
        classifier: the classifier; one without dropout is left alone.
        seed: the seed of what is dropped.
    """
    layers = [module for module in classifier.clip.modules() if isinstance(module, nn.Dropout)]
    if not layers:
        yield
        return
    device = classifier.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()


def import_peft(what: str = "LoRA", extra: str = "lora") -> ModuleType:
    """Return PEFT.

    Args:
        what: what needs it, for the message.
        extra: the optional extra that brings it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import peft  # an optional extra that takes seconds to import
    except ImportError as error:
        raise ConfigError(
            f"{what} needs the optional extra: pip install 'clipfit-study[{extra}]' ({error})"
        ) from error
    return peft
