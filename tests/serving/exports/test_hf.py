"""A Hugging Face folder gives the tuned answers elsewhere, by transformers alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from siglips import save_siglip

MANY = ("a {}.", "the {}!", "this is {}")
TWO = """\
from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained('.')
processor = AutoProcessor.from_pretrained('.', backend='pil')
assert (type(model).__name__, type(processor).__name__) == ('CLIPModel', 'CLIPProcessor')
"""
"""The lines that load an ordinary folder."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("head", "templates"), [((), ("a {}.",)), ((2, 0, 7), ("a {}.",)), (range(10), MANY)]
)
def test_transformers_alone_gives_the_tuned_answers(
    make_delta: Callable[..., Any],
    exported: Callable[..., Any],
    answers: Callable[..., Any],
    assert_same: Callable[..., None],
    head: Sequence[int],
    templates: Sequence[str],
) -> None:
    saved = make_delta(head=head, templates=templates)
    folder, written = exported(saved, "hf")
    assert_same(answers(folder, written.loading, more=TWO), saved.load())
    assert (folder / "head.safetensors").exists() == bool(head)
    assert not {path.suffix for path in folder.iterdir()} - {".json", ".safetensors"}


@pytest.mark.long
def test_a_siglip_gives_the_tuned_answers(
    make_telling: Callable[..., Any],
    exported: Callable[..., Any],
    answers: Callable[..., Any],
    assert_same: Callable[..., None],
    tmp_path: Path,
) -> None:
    saved = make_telling("bitfit", save_siglip(tmp_path / "siglip"))
    folder, written = exported(saved, "hf")
    assert_same(answers(folder, written.loading), saved.load())
