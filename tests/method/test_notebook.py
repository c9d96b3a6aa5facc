"""The code that the method's README begins with, run as a reader pastes it."""

import re
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from study.method import training
from study.method.model import FewShotClassifier
from study.method.subsets import parse
from study.method.training import Objective, make_optimizer, training_step

README = Path(training.__file__).parent / "README.md"
STEPS_OF_AN_EPOCH = 5


def test_its_steps_are_those_of_the_training_step_and_its_loss_falls():
    first, second = re.findall(r"(?ms)^```python\n(.*?)^```", README.read_text())
    notebook: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        exec(first, notebook)
        torch.manual_seed(1)
        batches = torch.randperm(len(notebook["dataset"].class_names) * 16).split(32)
    found = notebook["losses"]
    assert mean(found[-STEPS_OF_AN_EPOCH:]) < 0.7 * mean(found[:STEPS_OF_AN_EPOCH])

    shots = notebook["draw_shots"](notebook["dataset"], shots=16, seed=1).train
    images, labels = notebook["read"](shots)
    classifier = FewShotClassifier(notebook["backbone"], parse("clipfit"))
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.02, "ln": 0.01})
    objective = Objective(notebook["prompts"], notebook["zero_shot_text"], 8.0)
    losses = [
        training_step(classifier, optimizer, images[rows], labels[rows], objective).loss.item()
        for rows in batches
    ]
    assert found[:STEPS_OF_AN_EPOCH] == pytest.approx(losses, rel=1e-4)

    continued = {**notebook, "images": images, "labels": labels, "rows": batches[0]}
    exec(second, continued)
    rates = {group["lr"] for group in continued["optimizer"].param_groups}
    assert len(rates) == 2
    assert max(rates) < 0.02
