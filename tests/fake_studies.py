"""Finished studies that never ran: a search with its candidates, and an ablation."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from study.config.loading import build_config, dump_config
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import PREDICTIONS
from study.trial.predictions import predictions_to_parquet, read_predictions
from tests.fake_folder import (
    BASELINES,
    CLASSES,
    CLIPFIT,
    EPOCHS,
    RUNGS,
    SEEDS,
    SUBSETS,
    FakeFolder,
    predictions_of,
)
from tests.settings import with_settings


def written_once(write: Callable[..., Path]) -> Callable[..., Path]:
    """Keep the files of each study in memory; from the second time on, write these."""
    kept: dict[str, dict[Path, bytes]] = {}

    def written(folder: Path, **options: Any) -> Path:
        files = kept.get(f"{folder.name} {options}")
        if files is None:
            write(folder, **options)
            paths = [path for path in folder.rglob("*") if path.is_file()]
            files = {path.relative_to(folder): path.read_bytes() for path in paths}
            kept[f"{folder.name} {options}"] = files
            return folder
        for path, contents in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(contents)
        return folder

    return written


@written_once
def write_study(
    folder: Path,
    *,
    base_to_new: bool = False,
    seed: int = 3,
    edge: float = 0.01,
    images: Sequence[int] = (),
) -> Path:
    """Write a finished study: baselines, two search groups, seven candidates with five seeds.

    Args:
        folder: where the study goes.
        base_to_new: the protocol.
        seed: of the generator.
        edge: how much better the best configuration is on test than tuned CLIPFit, a fraction.
        images: of each class on test; as many of all classes where none are given.
    """
    fake = FakeFolder(folder, base_to_new=base_to_new, seed=seed)
    folder.mkdir(parents=True)
    protocol = "base_to_new" if base_to_new else "few_shot"
    settings = {
        "name": folder.name,
        "protocol": protocol,
        "data": {"dataset": "glyphs", "shots": 4},
        "training": {"epochs": EPOCHS},
        "search": {"trials": 35},
        "final": {"images": "shots"},
    }
    (folder / "study.yaml").write_text(dump_config(build_config(settings, "study.yaml")))
    candidates = _candidates(_write_search(fake))
    (folder / "candidates.json").write_text(json.dumps([*map(with_settings, candidates)]))
    shot_luck = {seed: fake.random.normal(0, 0.01) for seed in SEEDS}
    means = {
        "zero-shot": 0.60,
        "clipfit": 0.68,
        "clipfit-tuned": 0.70,
        "bitfit": 0.69,
        "best": 0.70 + edge,
        "second": 0.702,
        "third": 0.698,
    }
    for candidate in candidates:
        label = candidate["label"]
        for number, seed_ in enumerate(SEEDS):
            frozen = label == "zero-shot"
            luck = 0.0 if frozen else shot_luck[seed_] + fake.random.normal(0, 0.004)
            config = fake.config("test", label, number, seed=seed_, **candidate)
            epochs = 0 if frozen else EPOCHS
            fake.write_trial(
                f"test-{label}-seed{seed_}",
                config | {"epochs": epochs},
                epochs=epochs,
                status="finished",
                test=round(means[label] + luck, 4),
            )
    return set_images(folder, *images) if images else folder


def _write_search(fake: FakeFolder) -> dict[str, tuple[str, JsonObject, float]]:
    """Write the search stage; returns source trial, configuration and score per candidate."""
    chosen: dict[str, tuple[str, JsonObject, float]] = {}
    for number, (label, subset) in enumerate(BASELINES.items()):
        rates = dict.fromkeys(("bias_lr", "ln_lr"), None) if subset == "none" else {}
        config = fake.config("search", "baseline", number, label=label, subset=subset, **rates)
        config["epochs"] = 0 if subset == "none" else EPOCHS
        score = fake.write_trial(
            f"search-{number:04d}", config, epochs=config["epochs"], status="finished"
        )
        chosen[label] = (f"search-{number:04d}", config, score)
    ranked = []
    groups = ["clipfit-tuned" if number % 4 == 0 else "search" for number in range(32)]
    for number, group in enumerate(groups, start=len(BASELINES)):
        subset = CLIPFIT
        if group == "search":
            subset = str(fake.random.choice(list(SUBSETS)))
        config = fake.config(
            "search",
            group,
            number,
            label=f"trial {number}",
            subset=subset,
            bias_lr=float(10 ** fake.random.uniform(-3.5, -1.3)) if "bias" in subset else None,
            ln_lr=float(10 ** fake.random.uniform(-3.5, -1.3)) if "ln" in subset else None,
            distill_weight=float(fake.random.choice([0.25, 1.0, 8.0])),
        )
        epochs, status, error = EPOCHS, "finished", None
        if number % 11 == 7:
            trace = "Traceback:\n  ...\nNonFiniteLossError: epoch 3, step 5: loss is <nan>"
            epochs, status, error = 2, "failed", trace
        elif number > 8 and fake.random.random() < 0.4:
            epochs, status = int(fake.random.choice(RUNGS)), "stopped"
        trial_id = f"search-{number:04d}"
        score = fake.write_trial(trial_id, config, epochs=epochs, status=status, error=error)
        if status == "finished":
            ranked.append((score, group, (trial_id, config, score)))
    ranked.sort(key=lambda item: -item[0])
    chosen["clipfit-tuned"] = next(item[2] for item in ranked if item[1] == "clipfit-tuned")
    open_search = [item[2] for item in ranked if item[1] == "search"]
    chosen |= dict(zip(("best", "second", "third"), open_search, strict=False))
    return chosen


def _candidates(values: dict[str, tuple[str, JsonObject, float]]) -> list[JsonObject]:
    names = ("subset", "bias_lr", "ln_lr", "distill_weight")
    order = ("zero-shot", "clipfit", "bitfit", "clipfit-tuned", "best", "second", "third")
    return [
        {"label": label, "val_score": values[label][2], "source_trial": values[label][0]}
        | {name: values[label][1][name] for name in names}
        | {"training": label, "search_trials": 35}
        for label in order
    ]


ABLATION = {
    "base": (CLIPFIT, 0.0),
    "without text.mlp.fc2.bias": ("vision.ln", -0.06),
    "without vision.ln": ("text.mlp.fc2.bias", -0.04),
    "only text.attn.v.bias": ("text.attn.v.bias", -0.001),
    "only vision.ln[0:2]": ("vision.ln[0:2]", -0.012),
    "only vision.ln[2:4]": ("vision.ln[2:4]", 0.001),
    "text.bias + vision.ln": ("text.bias + vision.ln", 0.04),
}


@written_once
def write_ablation_study(folder: Path, *, base_to_new: bool = False, seed: int = 3) -> Path:
    """Write a finished ablation: each cell with five seeds, at a known distance to the base."""
    fake = FakeFolder(folder, base_to_new=base_to_new, seed=seed)
    folder.mkdir(parents=True)
    settings = {
        "name": folder.name,
        "protocol": "base_to_new" if base_to_new else "few_shot",
        "data": {"dataset": "glyphs"},
    }
    (folder / "study.yaml").write_text(dump_config(build_config(settings, "study.yaml")))
    luck = {seed: fake.random.normal(0, 0.01) for seed in SEEDS}
    for number, (label, (subset, effect)) in enumerate(ABLATION.items()):
        for seed_ in SEEDS:
            config = fake.config("ablation", label, number, seed=seed_, subset=subset)
            fake.write_trial(
                f"ablation-{number}-seed{seed_}",
                config,
                epochs=EPOCHS,
                status="finished",
                test=0.7 + effect + luck[seed_] + fake.random.normal(0, 0.003),
            )
    (folder / "cells.json").write_text("{}")
    return folder


def add_candidate(
    folder: Path,
    label: str,
    effect: float = 0.0,
    *,
    training: str | None = None,
    seeds: Sequence[int] = SEEDS,
    **values: Any,
):
    """Add a candidate to a finished study, at a distance to the best on test.

    Args:
        folder: where the study is.
        label: the candidate's label.
        effect: how much better it is on test than the best configuration, a fraction.
        training: the label of the candidate whose training it shares, if any.
        seeds: its seeds.
        values: the candidate's fields, such as ``val_score``, and its settings.
    """
    file = folder / "candidates.json"
    candidates = [c for c in json.loads(file.read_text()) if c["label"] != label]
    settings = {"subset": "none", "bias_lr": None, "ln_lr": None, "distill_weight": 0.0}
    added = {"label": label, "val_score": None, "source_trial": None, "search_trials": 35}
    added["training"] = training or label
    candidates.append(with_settings(added | settings | values))
    file.write_text(json.dumps(candidates))
    if training:
        return
    fake = FakeFolder(folder, base_to_new="base_to_new" in (folder / "study.yaml").read_text())
    for number, seed in enumerate(seeds):
        best = (folder / f"trials/test-best-seed{seed}/reports.jsonl").read_text().splitlines()
        test = json.loads(best[-1])["test_score"] + effect + fake.random.normal(0, 0.002)
        config = fake.config("test", label, number, seed=seed, **{**settings, **values})
        fake.write_trial(
            f"test-{label}-seed{seed}", config, epochs=EPOCHS, status="finished", test=test
        )


def add_answer(folder: Path, *, linear: float = -0.01) -> Path:
    """Add what studies of today test beside: a linear classifier.

    Args:
        folder: where the finished study is, whose best configuration is given a linear head.
        linear: how much better it is on test than the best configuration, a fraction.
    """
    head: JsonObject = {"head": "linear"}

    def use(candidates: list[JsonObject]):
        best = next(c for c in candidates if c["label"] == "best")
        best["settings"].update(head)

    edit_candidates(folder, use)
    add_candidate(folder, "linear", linear, val_score=0.6, **head)
    return folder


def edit_candidates(folder: Path, change: Callable[[list[JsonObject]], object]):
    """Change the candidates of a study, in place."""
    candidates = json.loads((folder / "candidates.json").read_text())
    change(candidates)
    (folder / "candidates.json").write_text(json.dumps(candidates))


def set_images(folder: Path, *images: int, naming_the_largest: bool = False) -> Path:
    """Let a study's test have so many images of each class, in every part.

    Each trial is right about the share of each class that is its test score or, to guess, about the
    first class alone.
    """
    for path in folder.glob(f"trials/*/{PREDICTIONS}"):
        last = (path.parent / "reports.jsonl").read_text().splitlines()[-1]
        score = json.loads(last)["test_score"]
        counts = [[0] * len(images) for _ in images]
        for true, number in enumerate(images):
            right = round(number * score)
            if naming_the_largest:
                right = number if true == 0 else 0
            other = 1 if true == 0 else 0
            counts[true][true] = right
            counts[true][other] = number - right
        before = read_predictions(StudyFolder(folder), path.parent.name)
        predictions = []
        for head, part in dict.fromkeys((one.head, one.part) for one in before):
            predictions += predictions_of(part, CLASSES[: len(images)], counts, head)
        path.write_bytes(predictions_to_parquet(predictions))
    return folder
