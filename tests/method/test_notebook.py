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
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```", README.read_text())
STEPS_OF_AN_EPOCH = 5
# The sites of the paper by transformers' names, without the table of sites.
CHOSEN = re.compile(
    r"text_model\.encoder\.layers\.\d+\.mlp\.fc2\.bias"
    r"|vision_model\.(encoder\.layers\.\d+\.layer_norm[12]|pre_layrnorm|post_layernorm)\.\w+"
)


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    """Run the first block, and return its variables."""
    variables: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        exec(BLOCKS[0], variables)
    return variables


def test_its_loss_falls_by_the_chosen_parameters_and_no_others(notebook: dict[str, Any]):
    losses = notebook["losses"]
    assert len(losses) == 6 * STEPS_OF_AN_EPOCH
    assert mean(losses[-STEPS_OF_AN_EPOCH:]) < 0.7 * mean(losses[:STEPS_OF_AN_EPOCH])
    before = dict(notebook["backbone"].clip.named_parameters())
    after = dict(notebook["classifier"].clip.named_parameters())
    chosen = {name for name in before if CHOSEN.fullmatch(name)}
    assert len(chosen) > 10
    assert {name for name in before if not torch.equal(before[name], after[name])} == chosen
    assert {name for name, parameter in after.items() if parameter.requires_grad} == chosen


def test_its_steps_are_those_of_the_training_step(notebook: dict[str, Any]):
    images, labels = notebook["read"](
        notebook["draw_shots"](notebook["dataset"], shots=16, seed=1).train
    )
    classifier = FewShotClassifier(notebook["backbone"], parse("clipfit"))
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.02, "ln": 0.01})
    objective = Objective(notebook["prompts"], notebook["zero_shot_text"], 8.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        batches = torch.randperm(len(labels)).split(32)
    losses = [
        training_step(classifier, optimizer, images[rows], labels[rows], objective).loss.item()
        for rows in batches
    ]
    assert notebook["losses"][:STEPS_OF_AN_EPOCH] == pytest.approx(losses, rel=1e-4)


def test_the_second_block_takes_a_step_of_the_schedule(notebook: dict[str, Any]):
    variables = {
        **notebook,
        "classifier": FewShotClassifier(notebook["backbone"], parse("clipfit")),
    }
    (_, second) = BLOCKS
    exec(second, variables)
    rates = {group["lr"] for group in variables["optimizer"].param_groups}
    assert len(rates) == 2
    assert max(rates) < 0.02
