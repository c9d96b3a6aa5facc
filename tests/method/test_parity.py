"""The method against numbers that the public reference implementation produced.

`fixtures/README.txt` says what they are of.
"""

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

FIXTURES = Path(__file__).parent / "fixtures"


class Fixture:
    """One folder of numbers, with our model and its inputs."""

    def __init__(self, folder: Path):
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


@pytest.fixture(scope="module", params=["a", "b"])
def fixture(request: pytest.FixtureRequest) -> Fixture:
    return Fixture(FIXTURES / request.param)


def test_the_trainable_set_is_the_references(fixture: Fixture):
    ours = {f"lambda8/param/{t.name}": t.parameter.shape for t in fixture.classifier().tuned}
    theirs = {name: value.shape for name, value in fixture.tensors.items() if name in ours}
    assert ours == theirs
    assert len(ours) == sum(name.startswith("lambda8/param/") for name in fixture.tensors)


def test_zero_shot_features_and_logits_are_the_references(fixture: Fixture):
    classifier = fixture.classifier()
    text = encode_prompts(classifier, fixture.input_ids)
    reference = torch.nn.functional.normalize(fixture.tensors["zero_shot_text_features"], dim=-1)
    torch.testing.assert_close(text, reference, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        fixture.logits(classifier), fixture.tensors["zero_shot_eval_logits"], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("forward", [PlainPass, StagedClassifier])
@pytest.mark.parametrize("distill_weight", [2, 8])
def test_every_step_and_every_final_parameter_is_the_references(
    fixture: Fixture, distill_weight: int, forward: type[ForwardPass]
):
    run, rates = f"lambda{distill_weight}", fixture.tensors["rates"].tolist()
    classifier = fixture.classifier()
    passed = forward(classifier)
    optimizer = make_optimizer(
        classifier.tuned,
        {"bias": 0.002, "ln": 0.002},
        Recipe(momentum=0.9, weight_decay=5e-4),
    )
    schedule = Schedule(len(rates))
    zero_shot_text = encode_prompts(classifier, fixture.input_ids)
    prompts = passed.begin_prompts(fixture.input_ids)
    objective = Objective(prompts, zero_shot_text, distill_weight)
    images, labels = fixture.inputs["train_pixel_values"], fixture.inputs["train_labels"]
    steps = iter(fixture.tensors[f"{run}/losses"].tolist())
    for epoch, rate in enumerate(rates):
        schedule.set_rates(optimizer, epoch)
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(rate, abs=1e-12)
        for batch in range(len(labels)):
            loss, cross_entropy, distillation = next(steps)
            begun = passed.begin_images(images[batch])
            losses = training_step(passed, optimizer, begun, labels[batch], objective)
            assert losses.loss.item() == pytest.approx(loss, abs=5e-5)
            assert losses.cross_entropy.item() == pytest.approx(cross_entropy, abs=5e-5)
            assert losses.distillation.item() == pytest.approx(distillation, abs=1e-6)
    for tuned in classifier.tuned:
        theirs = fixture.tensors[f"{run}/param/{tuned.name}"]
        torch.testing.assert_close(
            tuned.parameter.detach(), theirs, atol=2e-6, rtol=0, msg=tuned.name
        )
    torch.testing.assert_close(
        fixture.logits(classifier), fixture.tensors[f"{run}/eval_logits"], atol=1e-4, rtol=0
    )
