"""Studies that never ran, as fixtures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.trial_settings import TrialSettings
from study.report.charts import Chart
from study.report.study_charts import make_charts
from study.results.study_result import read_study_result
from study.results.trial_results import TrialResult
from study.trial.study import Prediction
from tests import example_studies
from tests.example_studies import SEEDS, ExampleStudy, search_study

TEXT_BIAS = "text_model.encoder.layers.0.mlp.fc2.bias"


@pytest.fixture
def ablation_study(tmp_path: Path) -> Path:
    """A finished few-shot ablation."""
    return example_studies.ablation_study(tmp_path / "ablation")


@pytest.fixture
def few_shot_study(tmp_path: Path) -> Path:
    """A finished few-shot study."""
    return search_study(tmp_path / "glyphs-few-shot")


@pytest.fixture
def tuned_study(few_shot_study: Path) -> Path:
    """A finished few-shot study: its best's seeds kept deltas of one text bias, each larger."""
    for seed in SEEDS:
        save_moved(few_shot_study, f"best-seed{seed}", TEXT_BIAS, times=1 + seed / 10)
    return few_shot_study


@pytest.fixture
def base_to_new_study(tmp_path: Path) -> Path:
    """A finished base-to-new study."""
    return search_study(tmp_path / "glyphs-base-to-new", base_to_new=True)


@pytest.fixture(scope="session")
def drawn_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Chart]]:
    """A finished base-to-new study with its charts, which take seconds: for reading only."""
    folder = search_study(tmp_path_factory.mktemp("drawn") / "glyphs", base_to_new=True)
    return folder, make_charts(read_study_result(folder))


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """Writes further studies: takes the arguments of `search_study` less the folder."""
    return lambda name="study", **values: search_study(tmp_path / name, **values)


@pytest.fixture
def trained_study(few_shot_study: Path) -> Path:
    """A study whose best trained on two images of a class and one of the next, with predictions.

    It is the last class that the dataset names first.
    """
    study = ExampleStudy(few_shot_study)
    study.record_split("0123456789abcdef", ["0.png", "1.png", "2.png"], 0, 1, 0)
    for seed in SEEDS:
        study.change(f"test-best-seed{seed}", split_hash="0123456789abcdef")
    return few_shot_study


@pytest.fixture
def predicted(few_shot_study: Path) -> Path:
    """A study of which some tests predicted four images of class a, then four of class b."""
    study = ExampleStudy(few_shot_study)
    study.forget_images()
    for trial_id, predicted in (
        ("test-best-seed1", "aaaabbba"),
        ("test-best-seed2", "aaaabbbb"),
        ("test-best-seed3", "bbbbbbbb"),
        ("test-clipfit-tuned-seed1", "aabbbbbb"),
        ("test-clipfit-tuned-seed2", "aaabbbbb"),
        ("test-zero-shot-seed1", "abababab"),
    ):
        images = enumerate(zip("aaaabbbb", predicted, strict=True))
        study.predict(
            trial_id,
            [Prediction("text", "accuracy", f"{n}.png", *of, 0.9) for n, of in images],
        )
    return few_shot_study


def save_moved(folder: Path, test: str, name: str, *, times: float = 1.0, by: float = 0.0):
    """Let a test have a delta in which one tensor of the small CLIP is another one."""
    from study.backbones.load_backbone import load_backbone
    from study.embedded import backbone_path
    from study.method.delta import DeltaInfo, save_delta

    backbone = load_backbone(backbone_path("embedded"))
    moved = dict(backbone.clip.named_parameters())[name].detach() * times + by
    info = DeltaInfo(
        "embedded", None, backbone.fingerprint, "text.mlp.fc2.bias[0:1]", ("a", "b", "c"), ("{}.",)
    )
    save_delta(folder / f"trials/test-{test}/delta.safetensors", {name: moved}, info)


def partial_result(**values: Any) -> TrialResult:
    """Return the result of a trial of which a test needs some values alone."""
    settings = TrialSettings(subset="vision.ln", head="text")
    return TrialResult.model_construct(**{"settings": settings, **values})


def placed(folder: Path, dataset: str, experiment: str = "base_to_new") -> Path:
    """Give a study its place in a sweep."""
    place = {"experiment": experiment, "axes": {"data.dataset": dataset, "data.shots": 16}}
    (folder / "sweep.json").write_text(json.dumps(place))
    ExampleStudy(folder).configure(f"data.dataset={dataset}", "data.shots=16")
    return folder
