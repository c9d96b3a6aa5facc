"""A model card says what is known of a model, and nothing that leads to this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands.export import find_study_of
from study.method.delta import load_delta, save_delta
from study.report.model_card import Provenance, model_card
from study.results.study_result import read_study_result
from study.serving.exports import FORMATS
from study.serving.exports.format import ExportGuide
from study.serving.saved_model import SavedModel, read_best_model, read_saved_model
from tests.not_none import not_none

CHOSEN = "test-best-seed1"
WRITTEN = ExportGuide("print('loaded')\n", ("A note.", "A pixel is cropped beside."))


@pytest.fixture(scope="module")
def study(finish: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return finish(tmp_path_factory.mktemp("carded"), "mine", linear=True)


@pytest.fixture
def saved(study: Any) -> SavedModel:
    return read_best_model(study.study)


def card_of(saved: SavedModel, study: Any = None, trial: str = "") -> tuple[str, Any]:
    """The text of a card, of a trial of a study if that is known, and its front matter."""
    provenance = None
    if study:
        result = read_study_result(study.folder.path)
        (found,) = (one for one in result.trial_results if one.trial_id == trial)
        provenance = Provenance(result, found)
    card = model_card(saved, FORMATS["hf"], WRITTEN, provenance)
    return card, yaml.safe_load(card.split("---", 2)[1])


def test_a_card_has_figures_beside_chance(study: Any, saved: SavedModel):
    card, front = card_of(saved, study, CHOSEN)
    assert (front["library_name"], front["metrics"]) == ("transformers", ["accuracy"])
    assert "license" not in front
    assert "```python\nprint('loaded')\n```\n\nA note." in card
    assert card.count("A pixel is cropped") == 1
    for message in (
        "| 75.0 ± 2.7 | 75.6 ± 2.8 | 2 |",
        "This model alone, with seed 1: 75.0",
        "chance 10.0 %",
        *("16 images per class to train, 4 to validate", "α: 0.75;", "Head: a linear layer"),
        "1,728 parameters",
    ):
        assert message in card
    assert str(study.folder.path.parent) not in card


def test_a_trial_that_validation_did_not_choose_says_so(study: Any, saved: SavedModel):
    card, front = card_of(saved, study, "search-0001")
    assert "This trial was not tested. Its validation score is 80.0 %." in card
    assert "metrics" not in front
    study.test(1, "zero-shot", 0.67)
    card, _ = card_of(saved, study, "test-zero-shot-seed1")
    assert "Validation did not select this configuration, “zero-shot CLIP”" in card
    card, _ = card_of(saved, study, CHOSEN)
    assert "| zero-shot CLIP | 67.0 ± 3.0 | 67.0 ± 3.0 | – | 66.7 ± 3.1 | 1 |" in card


def test_a_test_that_candidates_share_is_found_under_the_head_of_the_model(
    finish: Any, tmp_path: Path
):
    study = finish(tmp_path, "shared", linear=True)
    zero_shot, best = study.folder.read_json("candidates.json")
    plain = best | {"label": "plain", "settings": best["settings"] | {"head": "text"}}
    study.folder.write_json("candidates.json", [zero_shot, plain, best])
    saved = read_best_model(study.study)
    assert not_none(find_study_of(saved)).trial.label == "best"


def test_a_file_alone_names_no_study_and_no_path(study: Any, tmp_path: Path):
    delta = tmp_path / "own.safetensors"
    tensors, info = load_delta(study.folder.trial(CHOSEN).path / "delta.safetensors")
    here = replace(info, backbone=str(tmp_path / "my-clip"), class_names=("a|b", "<c>") * 40)
    save_delta(delta, tensors, here)
    card, _ = card_of(read_saved_model(delta))
    for message in (
        "This card was made without the study’s folder",
        "α: unknown",
        "Backbone: `my-clip` (fingerprint",
        "80: a\\|b, &lt;c&gt;",
        "and 20 more, see `classes.json`",
    ):
        assert message in card
    assert "## Scores" not in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize("name", ["openai/clip-vit-base-patch32", "embedded", "/mnt/my-clip"])
def test_a_base_model_is_a_name_of_the_hub(saved: SavedModel, name: str):
    _, front = card_of(replace(saved, info=replace(saved.info, backbone=name)))
    assert (front.get("base_model") == name) == name.startswith("openai/")
