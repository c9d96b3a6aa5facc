"""The cases of `answer.py`: which studies each one has, and on which images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import own_images

from study.config.loading import load_config
from study.config.schema import StudyConfig

CONFIGS = Path(__file__).parents[2] / "configs"
TRACKER = "untracked"
"""The name of a tracker that keeps nothing: the studies' folders are enough."""
FURTHER = 100
"""What is added to a study's seed for the seed of its second test."""
Changes = Mapping[str, str]
"""Values in YAML by the key of a configuration."""


@dataclass(frozen=True)
class Case:
    """Studies that differ by their seed alone."""

    title: str
    study: str
    """The shipped configuration that they begin with."""
    choices: int
    """The number of studies."""
    changes: Changes
    """What is different from the shipped configuration."""
    images: Callable[[Path], Path] | None
    """What writes the images into a folder and returns the dataset's root; None: packaged ones."""


LESS: Changes = {"search.trials": "32", "confirm.runners_up": "0"}
"""What studies do less than as shipped, so that many are done in time.

A quarter of the trials tune CLIPFit's own rates. With 16 trials, those four left CLIPFit at a
fraction of what it reaches, which made the winner look better than it is."""
SHORT: Changes = {**LESS, "training.epochs": "8"}
"""The same of studies with new classes, for which more epochs are no better on `glyphs`."""
RATES = "{bias: 0.002, ln: 0.002}"
FEWER: Changes = {
    "search.baselines": "{zero-shot: {subset: none}, linear: {subset: none, head: linear}, "
    f"clipfit: {{subset: clipfit, rates: {RATES}, distill_weight: 8}}}}"
}
"""The baselines without BitFit and all LayerNorms, whose rates nothing tunes."""
CASES = {
    "digits": Case(
        "Handwriting of another collection, few_shot",
        "quickstart",
        10,
        LESS,
        own_images.handwriting,
    ),
    "letters": Case(
        "Characters in other fonts, base_to_new",
        "base_to_new",
        10,
        SHORT,
        own_images.printed,
    ),
    "generalized": Case(
        "Characters in other fonts, generalized",
        "generalized",
        10,
        {**SHORT, **FEWER},
        own_images.printed,
    ),
}
PACKAGED = {"digits": "digits", "letters": "glyphs", "generalized": "glyphs"}
"""The images of a quick run, which must not look at those of the claims."""
QUICK: Changes = {
    **{"search.trials": "10", "search.asha": "null", "search.selection": "auto"},
    **{"search.folds": "2", "training.epochs": "2", "data.shots": "2"},
}


def quick(name: str, case: Case) -> Case:
    """Return a case with tiny settings and packaged images."""
    changes = {**case.changes, **QUICK, "data.dataset": PACKAGED[name]}
    title = f"Tiny settings, which measure nothing: {name}"
    return replace(case, title=title, choices=2, changes=changes, images=None)


def configuration(name: str, case: Case, storage: Path, seed: int) -> StudyConfig:
    """Return the configuration of one study of a case.

    Args:
        name: the name of the case.
        case: the case.
        storage: the folder of all studies and images.
        seed: the seed of the study.
    """
    changes = {
        **case.changes,
        **{"name": f"{name}-{seed}", "storage": str(storage), "seed": str(seed)},
        "confirm.seeds": f"[{seed}, {FURTHER + seed}]",
        **{"tracking.trackers": f"[{TRACKER}]", "resources.max_concurrent": "1"},
    }
    if case.images is not None:
        dataset = case.images.__name__
        root = case.images(storage / "images-of" / dataset)
        # The prompt of the packaged datasets, which knows nothing of these images.
        prompt = '["a photo of the {}."]'
        changes |= {"data.dataset": dataset, "data.root": str(root), "data.templates": prompt}
    return load_config(
        CONFIGS / f"{case.study}.yaml", [f"{key}={value}" for key, value in changes.items()]
    )
