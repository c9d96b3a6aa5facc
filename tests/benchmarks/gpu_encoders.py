"""The encoders of a step as they are, as CUDA graphs, and by torch.compile: gradients and time.

A way is kept if it is faster and gives the gradients of the encoders as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gpu_sections import Numbers
from gpu_step import BATCH, synchronize
from paired import medians
from step import MOVED
from torch import Tensor, nn
from ways import DISTILL_WEIGHT, Ready, make_ready

from study.method.model import TunedParameter
from study.method.parameters import find_leaf
from study.method.training import Objective, training_step

Encode = Callable[[Tensor], Tensor]
TOLERANCE = {"float32": 1e-3, "held": 0.05}
"""The largest ‖g − g′‖ / ‖g′‖ of a tensor at which gradients are equal: what rounding does alone.

In bfloat16 it is about what lies between that precision and float32."""
FASTER = 1.03
"""How many times as fast a way must be, since less may be chance."""
GRAPHS, COMPILED = "CUDA graphs", "torch.compile"
ROWS = [f"{name}, {way}" for way in ("held", "float32") for name in (GRAPHS, COMPILED)]


@dataclass(frozen=True)
class Encoders:
    """A classifier for the training step, whose encoders begin where the first tensor is tuned."""

    tuned: Sequence[TunedParameter]
    logits: Callable[[Tensor, Tensor], Tensor]
    encode_text: Encode
    encode_image: Encode


class Part(nn.Module):
    """An encoder as a module that has the tuned parameters alone, as CUDA graphs need it."""

    def __init__(self, encode: Encode, own: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self._own = nn.ParameterList(own)
        self._encode = encode

    def forward(self, hidden: Tensor) -> Tensor:
        """Return features."""
        return self._encode(hidden)


def encoders(row: str, device: str, small: bool) -> Numbers:
    """Compare one way with the encoders as they are, in turn on the same model."""
    name, _, way = row.partition(", ")
    # At a rate of 0 the parameters stay, so that every step has the same gradients.
    ready = make_ready(way, BATCH, device=device, rate=0.0, moved=MOVED, small=small)
    eager = _eager(ready)
    began = time.perf_counter()
    other = _captured(ready, eager) if name == GRAPHS else _compiled(eager, device)
    steps = {"eager": lambda: _step(ready, eager, device), "": lambda: _step(ready, other, device)}
    gradients = {}
    for key, step in steps.items():
        step()
        gradients[key] = ready.gradients()
    preparing = time.perf_counter() - began
    pairs = zip(gradients[""], gradients["eager"], strict=True)
    distance = max(((one - its).norm() / its.norm()).item() for one, its in pairs)
    found = medians(steps, 2 if small else 30, time.perf_counter)
    ratio = found["eager"] / found[""]
    equal, faster = distance <= TOLERANCE[way], ratio >= FASTER
    return {
        "eager_ms": 1000 * found["eager"],
        "step_ms": 1000 * found[""],
        "times_as_fast": ratio,
        "distance": distance,
        "tolerance": TOLERANCE[way],
        "equal": equal,
        "faster": faster,
        "kept": equal and faster,
        "preparing_s": preparing,
    }


def encoders_cells(numbers: Numbers) -> list[str]:
    """Write a row of `encoders`."""
    answer = {True: "yes", False: "no"}
    return [
        *(f"{numbers[key]:.1f}" for key in ("eager_ms", "step_ms")),
        f"{numbers['times_as_fast']:.2f}: {answer[numbers['faster']]}",
        f"{numbers['distance']:.1e} of {numbers['tolerance']:g}: {answer[numbers['equal']]}",
        f"{numbers['preparing_s']:.0f}",
        "kept" if numbers["kept"] else "not kept",
    ]


def _eager(ready: Ready) -> Encoders:
    staged, prompts = ready.staged, ready.prompts

    def text(hidden: Tensor) -> Tensor:
        run = staged.text
        return staged.classifier.to_unit_length(run.run(run.first, run.last, hidden, prompts))

    def image(hidden: Tensor) -> Tensor:
        return staged.encode_image(hidden)

    return Encoders(staged.tuned, staged.logits, text, image)


def _captured(ready: Ready, eager: Encoders) -> Encoders:
    own: dict[str, list[nn.Parameter]] = {"text": [], "vision": []}
    for one in ready.staged.tuned:
        own[find_leaf(one.name).encoder].append(one.parameter)
    parts = (Part(eager.encode_text, own["text"]), Part(eager.encode_image, own["vision"]))
    samples = ((ready.prompts.hidden,), (ready.begin_images(),))
    # They pass forwards in this order and backwards in the other one, as the step does.
    graphed: Any = torch.cuda.make_graphed_callables(parts, samples)
    text, image = graphed
    return Encoders(eager.tuned, eager.logits, text, image)


def _compiled(eager: Encoders, device: str) -> Encoders:
    # Without a GPU nothing is measured, and the compiler of C++ is spared.
    backend = "inductor" if device == "cuda" else "aot_eager"
    text = torch.compile(eager.encode_text, backend=backend)
    image = torch.compile(eager.encode_image, backend=backend)
    return Encoders(eager.tuned, eager.logits, text, image)


def _step(ready: Ready, encoders: Encoders, device: str) -> None:
    training_step(
        *(encoders, ready.optimizer, ready.begin_images(), ready.labels),
        Objective(ready.prompts.hidden, ready.zero_shot, DISTILL_WEIGHT),
    )
    synchronize(device)
