"""The method against numbers that the public reference implementation produced.

`PARITY_FIXTURES` may name other fixture folders, separated by colons; each folder's README.txt
says what it holds.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPModel

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.tokenizing import end_positions
from study.method.model import FewShotClassifier, encode_prompts
from study.method.plain_pass import ForwardPass, PlainPass
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, Recipe, Schedule, make_optimizer, training_step
from study.storage.result_folder import JsonObject

OWN_FIXTURES = sorted(p for p in (Path(__file__).parent / "fixtures").iterdir() if p.is_dir())
FIXTURES = [Path(p) for p in os.environ.get("PARITY_FIXTURES", "").split(":") if p]


class Fixture:
    """One folder of numbers, with a run of our method on its inputs for a given λ."""

    def __init__(self, folder: Path):
        self.expected: JsonObject = json.loads((folder / "expected.json").read_text())
        self.tensors = load_file(folder / "expected.safetensors")
        self.inputs = load_file(folder / "inputs.safetensors")
        clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.backbone = Backbone(
            name=str(folder),
            clip=clip,
            tokenizer=None,
            image_size=clip.config.vision_config.image_size,
            image_mean=(0.0, 0.0, 0.0),
            image_std=(1.0, 1.0, 1.0),
            fingerprint=fingerprint(clip),
        )
        ids = self.inputs["input_ids"]
        ends = end_positions(ids.tolist(), clip.config.text_config.eos_token_id)
        self.input_ids = ids[:, : max(ends) + 1]

    def classifier(self) -> FewShotClassifier:
        return FewShotClassifier(self.backbone, parse("clipfit"))

    @torch.no_grad()
    def logits(self, classifier: FewShotClassifier) -> Tensor:
        text = encode_prompts(classifier, self.input_ids)
        return classifier.logits(classifier.encode_image(self.inputs["eval_pixel_values"]), text)


@pytest.fixture(scope="module", params=FIXTURES or OWN_FIXTURES, ids=lambda path: path.name)
def fixture(request: pytest.FixtureRequest) -> Fixture:
    return Fixture(request.param)


def test_the_trainable_set_is_the_references(fixture: Fixture):
    ours = {t.name: tuple(t.parameter.shape) for t in fixture.classifier().tuned}
    theirs = {t["hf"]: tuple(t["shape"]) for t in fixture.expected["trainable"]}
    assert ours == theirs


def test_zero_shot_features_and_logits_are_the_references(fixture: Fixture):
    classifier = fixture.classifier()
    text = encode_prompts(classifier, fixture.input_ids)
    reference = torch.nn.functional.normalize(fixture.tensors["zero_shot_text_features"], dim=-1)
    torch.testing.assert_close(text, reference, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        fixture.logits(classifier), fixture.tensors["zero_shot_eval_logits"], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("forward", [PlainPass, StagedClassifier])
def test_every_step_and_every_final_parameter_is_the_references(
    fixture: Fixture, forward: type[ForwardPass]
):
    hyper = fixture.expected["hyper"]
    for run, values in fixture.expected["runs"].items():
        classifier = fixture.classifier()
        passed = forward(classifier)
        optimizer = make_optimizer(
            classifier.tuned,
            {"bias": hyper["lr"], "ln": hyper["lr"]},
            Recipe(momentum=hyper["momentum"], weight_decay=hyper["weight_decay"]),
        )
        schedule = Schedule(hyper["max_epoch"])
        zero_shot_text = encode_prompts(classifier, fixture.input_ids)
        prompts = passed.begin_prompts(fixture.input_ids)
        objective = Objective(prompts, zero_shot_text, values["lambda"])
        for known in values["steps"]:
            schedule.set_rates(optimizer, known["epoch"])
            for group in optimizer.param_groups:
                assert group["lr"] == pytest.approx(known["lr"], abs=1e-12)
            images = passed.begin_images(fixture.inputs["train_pixel_values"][known["batch"]])
            labels = fixture.inputs["train_labels"][known["batch"]]
            losses = training_step(passed, optimizer, images, labels, objective)
            assert losses.loss.item() == pytest.approx(known["loss"], abs=5e-5)
            assert losses.cross_entropy.item() == pytest.approx(known["ce"], abs=5e-5)
            assert losses.distillation.item() == pytest.approx(known["one_minus_cos"], abs=1e-6)
        for tuned in classifier.tuned:
            theirs = fixture.tensors[f"{run}/param/{tuned.name}"]
            torch.testing.assert_close(
                tuned.parameter.detach(), theirs, atol=2e-6, rtol=0, msg=tuned.name
            )
        torch.testing.assert_close(
            fixture.logits(classifier),
            fixture.tensors[f"{run}/eval_logits"],
            atol=1e-4,
            rtol=0,
        )
