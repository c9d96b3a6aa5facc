"""The cases of `answer.py`: which studies each one has, and on which images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from study.config.loading import load_config
from study.config.schema import StudyConfig
from tests.benchmarks.answer.own_images import write_handwriting, write_printed

CONFIGS = Path(__file__).parents[3] / "configs"
FURTHER = 100
"""What is added to a study's seed for the seed of its second test."""
PROMPT = '["a photo of the {}."]'
"""The prompt of the packaged datasets, which knows nothing of these images."""
Changes = Mapping[str, str]
"""Values in YAML by the key of a configuration."""


@dataclass(frozen=True)
class Case:
    """Studies that differ by their seed alone."""

    title: str
    study: str
    """The shipped configuration that they begin with."""
    changes: Changes
    """What is different from the shipped configuration."""
    images: Callable[[Path], Path] | None
    """What writes the images into a folder and returns their table; None: packaged ones."""


# A quarter of the trials tune CLIPFit's own rates. With 16 trials, those four left CLIPFit at a
# fraction of what it reaches, which made the winner look better than it is.
FEWER_TRIALS: Changes = {"search.trials": "32", "confirm.runners_up": "0"}
# With new classes more epochs are no better on the packaged `glyphs`.
FEWER_EPOCHS: Changes = {**FEWER_TRIALS, "training.epochs": "8"}
# Without BitFit and all LayerNorms, whose rates nothing tunes.
FEWER_BASELINES: Changes = {
    **FEWER_EPOCHS,
    "search.baselines": "{zero-shot: {subset: none}, linear: {subset: none, head: linear}, "
    "clipfit: {subset: clipfit, rates: {bias: 0.002, ln: 0.002}, distill_weight: 8}}",
}
CASES = {
    "digits": Case(
        "Handwriting of another collection, few_shot",
        "quickstart",
        FEWER_TRIALS,
        write_handwriting,
    ),
    "letters": Case(
        "Characters in other fonts, base_to_new",
        "base_to_new",
        FEWER_EPOCHS,
        write_printed,
    ),
    "generalized": Case(
        "Characters in other fonts, generalized",
        "generalized",
        FEWER_BASELINES,
        write_printed,
    ),
}
QUICK: Changes = {
    "search.trials": "10",
    "search.asha": "null",
    "search.selection": "auto",
    "search.folds": "2",
    "training.epochs": "2",
    "data.shots": "2",
}
PACKAGED = {"digits": "digits", "letters": "glyphs", "generalized": "glyphs"}
"""The images of a quick run, which must not look at those of the claims."""


def _quick(name: str) -> Case:
    changes = {**CASES[name].changes, **QUICK, "data.dataset": PACKAGED[name]}
    title = f"Tiny settings, which measure nothing: {name}"
    return replace(CASES[name], title=title, changes=changes, images=None)


QUICK_CASES = {name: _quick(name) for name in CASES}


def configuration(name: str, case: Case, storage: Path, seed: int) -> StudyConfig:
    """Return the configuration of one study of a case, and write its images if they are missing.

    Args:
        name: the name of the case.
        case: the case.
        storage: the folder of all studies and images.
        seed: the seed of the study.
    """
    changes = {
        "refit.images": "shots",  # the choice is measured, not what ships
        "refit.average": "1",
        **case.changes,
        "name": f"{name}-{seed}",
        "storage": str(storage),
        "seed": str(seed),
        "confirm.seeds": f"[{seed}, {FURTHER + seed}]",
        "tracking.trackers": "[]",
        # So that no core waits while a study starts or concludes: several studies run at once.
        "resources.max_concurrent": "1",
    }
    if case.images is not None:
        dataset = case.images.__name__.removeprefix("write_")
        root = case.images(storage / "images" / dataset)
        changes |= {"data.dataset": dataset, "data.root": str(root), "data.templates": PROMPT}
    overrides = [f"{key}={value}" for key, value in changes.items()]
    return load_config(CONFIGS / f"{case.study}.yaml", overrides)
