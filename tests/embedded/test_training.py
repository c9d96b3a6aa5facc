import pytest
import torch

from tests.embedded.drawings import all_captions
from tests.embedded.training import (
    Trainer,
    contrastive_loss,
    text_residual_scale,
)


def test_a_picture_without_a_caption_does_not_count() -> None:
    matches = torch.tensor([[True, False], [False, True], [False, False]])
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    rows = torch.nn.functional.cross_entropy(logits[:2], torch.tensor([0, 1]))
    columns = torch.nn.functional.cross_entropy(logits.T, torch.tensor([0, 1]))
    torch.testing.assert_close(contrastive_loss(logits, matches), (rows + columns) / 2)


def test_steps_lower_the_loss_and_equal_seeds_give_equal_weights() -> None:
    first, second = (Trainer(steps=1000, warmup=5, batch=64) for _ in "ab")
    losses = [first.step(number) for number in range(12)]
    assert losses[-1] < losses[0]
    assert [second.step(number) for number in range(12)] == losses
    weights = first.model.text_projection.weight
    assert torch.equal(weights, second.model.text_projection.weight)


def test_finishing_leaves_features_alone_and_the_stream_at_the_recipes_scale() -> None:
    trainer = Trainer(text_residual=0.5)
    trainer.model.eval()
    ids = trainer.tokenizer("a photo of the digit seven.", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        before = trainer.model.get_text_features(input_ids=ids).pooler_output
        trainer.finish()
        after = trainer.model.get_text_features(input_ids=ids).pooler_output
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    texts = sorted(set(all_captions()))
    ids = trainer.tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
    assert text_residual_scale(trainer.model, ids) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.long
def test_a_short_training_leaves_chance() -> None:
    trainer = Trainer(steps=300)
    assert min(trainer.step(number) for number in range(300)) < 3.0
