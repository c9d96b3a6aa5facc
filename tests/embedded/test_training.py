from pathlib import Path

import pytest
import torch
from embedded.drawings import all_captions
from embedded.training import (
    Trainer,
    build_model,
    build_tokenizer,
    contrastive_loss,
    shrink_text_residual,
    text_residual_scale,
)
from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer(all_captions())


def test_a_prompt_comes_back_from_its_tokens(tokenizer: CLIPTokenizer) -> None:
    for text in ("a photo of the digit seven.", "zebra on a couch", "naïve café", "上"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" .", ".") == text
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.eos_token_id) == 1


def test_frequent_words_are_one_token_and_case_is_ignored(tokenizer: CLIPTokenizer) -> None:
    prompt = "a photo of the capital letter q."
    assert len(tokenizer.tokenize(prompt)) == 8
    assert tokenizer.tokenize(prompt.upper()) == tokenizer.tokenize(prompt)


def test_the_same_texts_make_the_same_tokenizer(tokenizer: CLIPTokenizer) -> None:
    assert build_tokenizer(all_captions()).get_vocab() == tokenizer.get_vocab()


def test_the_tokenizer_survives_a_folder(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    texts = ["a photo of the digit seven.", "an okapi"]
    assert loaded(texts, padding=True)["input_ids"] == tokenizer(texts, padding=True)["input_ids"]
    assert loaded.model_max_length == 77


def test_the_model_pools_at_the_end_token_and_not_by_the_legacy_rule(
    tokenizer: CLIPTokenizer,
) -> None:
    config = build_model(tokenizer).config.text_config
    assert config.eos_token_id == tokenizer.eos_token_id != 2
    assert (config.bos_token_id, config.pad_token_id) == (
        tokenizer.bos_token_id,
        tokenizer.pad_token_id,
    )


def test_shrinking_the_residual_changes_its_scale_and_no_feature(
    tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build_model(tokenizer).eval()
    ids = tokenizer(all_captions()[:50], padding=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        before = model.get_text_features(input_ids=ids).pooler_output
        scale = text_residual_scale(model, ids)
        shrink_text_residual(model, 7.0)
        after = model.get_text_features(input_ids=ids).pooler_output
        model.save_pretrained(tmp_path)
        loaded = CLIPModel.from_pretrained(tmp_path).get_text_features(input_ids=ids).pooler_output
    assert text_residual_scale(model, ids) == pytest.approx(scale / 7)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loaded, after, atol=1e-6, rtol=1e-6)


def test_a_perfect_score_of_all_true_partners_costs_their_entropy_alone() -> None:
    matches = torch.tensor([[True, True, False], [False, False, True]])
    loss = contrastive_loss(matches.float() * 100, matches)
    # Picture 0 shares its chance among two captions: ln 2; everything else is certain.
    expected = (torch.tensor(2.0).log() / 2 + 0.0) / 2
    torch.testing.assert_close(loss, expected)


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
