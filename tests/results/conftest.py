"""Studies that never ran: ledgers written from a seeded generator, for both protocols."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from settings import with_settings

from study.config.loading import build_config, dump_config, load_config
from study.report.charts import Chart
from study.report.plots import make_plots
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.study_results import read_results
from study.storage.study_folder import REGISTERED, Registration, StudyFolder
from study.storage.trial_folder import PREDICTIONS
from study.trial import Prediction
from study.trial.predictions import read_predictions, to_parquet

SAID = yaml.safe_load(Path(__file__).with_name("said.yaml").read_text(encoding="utf-8"))
"""Studies, and what is said of them."""

EPOCHS = 12
RUNGS = (3, 6)
SEEDS = (1, 2, 3, 4, 5)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"
SUBSETS = {
    CLIPFIT: 5_120,
    "text.mlp.fc2.bias + vision.ln[0:2]": 2_048,
    "text.bias + vision.ln": 11_264,
    "text.attn.v.bias + text.mlp.fc2.bias + vision.ln + vision.ln_pre": 7_168,
    "text.bias + vision.bias": 16_384,
    "vision.ln": 3_072,
    "text.bias[2:4] + text.ln": 4_096,
}
BASELINES = {
    "zero-shot": "none",
    "clipfit": CLIPFIT,
    "bitfit": "text.bias + vision.bias",
}
CLASSES = tuple(f"glyph {name}" for name in "abcdefghijkl")


class FakeLedger:
    """Writes the files of a study, with scores that depend on subset, learning rates and noise."""

    def __init__(self, folder: Path, *, base_to_new: bool, seed: int = 3) -> None:
        self.folder = folder
        self.base_to_new = base_to_new
        self.random = np.random.default_rng(seed)

    def quality(self, subset: str, bias_lr: float | None, ln_lr: float | None) -> float:
        """The score that a configuration tends to, a fraction."""
        score = 0.62 + 0.015 * ("ln" in subset) + 0.01 * ("attn.v" in subset)
        for rate in (bias_lr, ln_lr):
            score += 0.05 - 0.03 * abs(math.log10(rate / 8e-3)) if rate else 0.0
        return score

    def parts(self, prefix: str, score: float) -> dict[str, float]:
        """The protocol's numbers around a score."""
        if not self.base_to_new:
            return {f"{prefix}_accuracy": score, f"{prefix}_score": score}
        base, new = score + 0.08, score - 0.06
        hmean = 2 * base * new / (base + new)
        return {
            f"{prefix}_base": base,
            f"{prefix}_new": new,
            f"{prefix}_hmean": hmean,
            f"{prefix}_score": hmean,
        }

    def write_trial(
        self,
        trial_id: str,
        config: dict[str, Any],
        *,
        epochs: int,
        status: str | None,
        error: str | None = None,
        test: float | None = None,
    ) -> float:
        """Write one trial; returns its last score."""
        folder = self.folder / "trials" / trial_id
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(with_settings(config)))
        target = self.quality(config["subset"], config["bias_lr"], config["ln_lr"])
        target += self.random.normal(0, 0.004)
        lines, score = [], target - 0.12
        if epochs == 0:
            validated = config["stage"] == "search"
            lines.append(
                {"epoch": 0, "seconds": 1.0} | (self.parts("val", score) if validated else {})
            )
        for epoch in range(1, epochs + 1):
            score = target - 0.12 * math.exp(-epoch / 3) + self.random.normal(0, 0.003)
            report: dict[str, Any] = {
                "epoch": epoch,
                "train_loss": 0.4 + math.exp(-epoch / 4),
                "cross_entropy": 0.3 + math.exp(-epoch / 4),
                "distillation": 0.1,
                "bias_lr": config["bias_lr"],
                "ln_lr": config["ln_lr"],
                "images_per_second": 900.0,
                "seconds": 1.5,
            }
            if config["stage"] == "search":
                report |= self.parts("val", score)
            lines.append(report)
        if test is not None:
            lines[-1] |= self.parts("test", test)
            self._write_predictions(folder, test)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "reports.jsonl").write_text(text)
        if status is not None:
            reasons = {"stopped": "asha", "failed": (error or "").rpartition("\n")[2]}
            end = {
                "status": status,
                "epochs": epochs,
                "seconds": 1.5 * epochs,
                "reason": reasons.get(status),
                "error": error,
            }
            (folder / "end.json").write_text(json.dumps(end))
        return score

    def _write_predictions(self, folder: Path, score: float) -> None:
        accuracy = {
            name: float(np.clip(score + self.random.normal(0, 0.1), 0, 1)) for name in CLASSES
        }
        half = len(CLASSES) // 2
        halves = {"base": CLASSES[:half], "new": CLASSES[half:]}
        parts = halves if self.base_to_new else {"accuracy": CLASSES}
        predictions = []
        for part, names in parts.items():
            counts = self._confusion([accuracy[name] for name in names])
            predictions += predictions_of(part, names, counts)
        (folder / PREDICTIONS).write_bytes(to_parquet(predictions))

    def _confusion(self, accuracies: Sequence[float]) -> list[list[int]]:
        counts = []
        for true, accuracy in enumerate(accuracies):
            right = round(40 * accuracy)
            classes = len(accuracies)
            others = [0.0 if c == true else 1 / (classes - 1) for c in range(classes)]
            row = self.random.multinomial(40 - right, others)
            row[true] = right
            counts.append(row.tolist())
        return counts

    def config(self, stage: str, arm: str, number: int, **values: Any) -> dict[str, Any]:
        """A trial's configuration with the fields that the ledger promises."""
        subset = values.get("subset", CLIPFIT)
        return {
            "stage": stage,
            "arm": arm,
            "number": number,
            "label": values.get("label", arm),
            "seed": values.get("seed", 1),
            "subset": subset,
            "subset_key": f"{compute_config_hash(subset):08x}",
            "bias_lr": values.get("bias_lr", 2e-3),
            "ln_lr": values.get("ln_lr", 2e-3),
            "distill_weight": values.get("distill_weight", 8.0),
            "epochs": values.get("epochs", EPOCHS),
            "trainable": SUBSETS.get(subset, 0),
        }


def predictions_of(
    part: str, names: Sequence[str], counts: Sequence[Sequence[int]]
) -> list[Prediction]:
    """Predictions of so many images of each class as each class, of the same images every time."""
    predictions = []
    for true, row in enumerate(counts):
        name = names[true]
        # What is right comes first, so that most images are right with every seed.
        taken = sorted(np.repeat(names, row).tolist(), key=lambda one, name=name: one != name)
        for number, predicted in enumerate(taken):
            predictions.append(Prediction(part, f"{true}-{number}.png", name, predicted, 0.9))
    return predictions


def compute_config_hash(text: str) -> int:
    """A stable stand-in for the ledger's hash."""
    return sum((index + 1) * ord(letter) for index, letter in enumerate(text))


def write_study(
    folder: Path,
    *,
    base_to_new: bool = False,
    seed: int = 3,
    edge: float = 0.01,
    images: Sequence[int] = (),
) -> Path:
    """Write a finished study: baselines, two search arms, seven candidates with five seeds.

    Args:
        folder: where the study goes.
        base_to_new: the protocol.
        seed: of the generator.
        edge: how much better the winner is on test than tuned CLIPFit, a fraction.
        images: of each class on test; as many of all classes where none are given.
    """
    ledger = FakeLedger(folder, base_to_new=base_to_new, seed=seed)
    folder.mkdir(parents=True)
    protocol = "base_to_new" if base_to_new else "few_shot"
    settings = {
        "name": folder.name,
        "protocol": protocol,
        "data": {"dataset": "glyphs", "shots": 4},
        "training": {"epochs": EPOCHS},
        "search": {"trials": 35},
    }
    (folder / "study.yaml").write_text(dump_config(build_config(settings, "study.yaml")))
    candidates = _candidates(_write_search(ledger))
    (folder / "candidates.json").write_text(json.dumps([*map(with_settings, candidates)]))
    shot_luck = {seed: ledger.random.normal(0, 0.01) for seed in SEEDS}
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
            luck = 0.0 if frozen else shot_luck[seed_] + ledger.random.normal(0, 0.004)
            config = ledger.config("confirm", label, number, seed=seed_, **candidate)
            epochs = 0 if frozen else EPOCHS
            ledger.write_trial(
                f"confirm-{label}-seed{seed_}",
                config | {"epochs": epochs},
                epochs=epochs,
                status="finished",
                test=round(means[label] + luck, 4),
            )
    return set_images(folder, *images) if images else folder


def _write_search(ledger: FakeLedger) -> dict[str, tuple[str, dict[str, Any], float]]:
    """Write the search stage; returns source trial, configuration and score per candidate."""
    chosen: dict[str, tuple[str, dict[str, Any], float]] = {}
    for number, (label, subset) in enumerate(BASELINES.items()):
        rates = dict.fromkeys(("bias_lr", "ln_lr"), None) if subset == "none" else {}
        config = ledger.config("search", "baseline", number, label=label, subset=subset, **rates)
        config["epochs"] = 0 if subset == "none" else EPOCHS
        score = ledger.write_trial(
            f"search-{number:04d}", config, epochs=config["epochs"], status="finished"
        )
        chosen[label] = (f"search-{number:04d}", config, score)
    ranked = []
    arms = ["clipfit-tuned" if number % 4 == 0 else "search" for number in range(32)]
    for number, arm in enumerate(arms, start=len(BASELINES)):
        subset = CLIPFIT
        if arm == "search":
            subset = str(ledger.random.choice(list(SUBSETS)))
        config = ledger.config(
            "search",
            arm,
            number,
            label=f"trial {number}",
            subset=subset,
            bias_lr=float(10 ** ledger.random.uniform(-3.5, -1.3)) if "bias" in subset else None,
            ln_lr=float(10 ** ledger.random.uniform(-3.5, -1.3)) if "ln" in subset else None,
            distill_weight=float(ledger.random.choice([0.25, 1.0, 8.0])),
        )
        epochs, status, error = EPOCHS, "finished", None
        if number % 11 == 7:
            trace = "Traceback:\n  ...\nNonFiniteLossError: epoch 3, step 5: loss is <nan>"
            epochs, status, error = 2, "failed", trace
        elif number > 8 and ledger.random.random() < 0.4:
            epochs, status = int(ledger.random.choice(RUNGS)), "stopped"
        trial_id = f"search-{number:04d}"
        score = ledger.write_trial(trial_id, config, epochs=epochs, status=status, error=error)
        if status == "finished":
            ranked.append((score, arm, (trial_id, config, score)))
    ranked.sort(key=lambda item: -item[0])
    chosen["clipfit-tuned"] = next(item[2] for item in ranked if item[1] == "clipfit-tuned")
    open_search = [item[2] for item in ranked if item[1] == "search"]
    chosen |= dict(zip(("best", "second", "third"), open_search, strict=False))
    return chosen


def _candidates(values: dict[str, tuple[str, dict[str, Any], float]]) -> list[dict[str, Any]]:
    names = ("subset", "bias_lr", "ln_lr", "distill_weight")
    order = ("zero-shot", "clipfit", "bitfit", "clipfit-tuned", "best", "second", "third")
    return [
        {"label": label, "val_score": values[label][2], "source_trial": values[label][0]}
        | {name: values[label][1][name] for name in names}
        | {"same_as": None}
        for label in order
    ]


ABLATION = {
    "base": (CLIPFIT, 0.0),
    "without text.mlp.fc2.bias": ("vision.ln", -0.03),
    "without vision.ln": ("text.mlp.fc2.bias", -0.02),
    "only text.attn.v.bias": ("text.attn.v.bias", -0.001),
    "only vision.ln[0:2]": ("vision.ln[0:2]", -0.012),
    "only vision.ln[2:4]": ("vision.ln[2:4]", 0.001),
    "text.bias + vision.ln": ("text.bias + vision.ln", 0.02),
}


def write_ablation_study(folder: Path, *, base_to_new: bool = False, seed: int = 3) -> Path:
    """Write a finished ablation: each cell with five seeds, at a known distance to the base."""
    ledger = FakeLedger(folder, base_to_new=base_to_new, seed=seed)
    folder.mkdir(parents=True)
    settings = {
        "name": folder.name,
        "protocol": "base_to_new" if base_to_new else "few_shot",
        "data": {"dataset": "glyphs"},
    }
    (folder / "study.yaml").write_text(dump_config(build_config(settings, "study.yaml")))
    luck = {seed: ledger.random.normal(0, 0.01) for seed in SEEDS}
    for number, (label, (subset, effect)) in enumerate(ABLATION.items()):
        for seed_ in SEEDS:
            config = ledger.config("ablation", label, number, seed=seed_, subset=subset)
            ledger.write_trial(
                f"ablation-{number}-seed{seed_}",
                config,
                epochs=EPOCHS,
                status="finished",
                test=0.7 + effect + luck[seed_] + ledger.random.normal(0, 0.003),
            )
    (folder / "cells.json").write_text("{}")
    return folder


def add_candidate(
    folder: Path,
    label: str,
    effect: float = 0.0,
    *,
    same_as: str | None = None,
    seeds: Sequence[int] = SEEDS,
    **values: Any,
) -> None:
    """Add a candidate to a finished study, whose seeds are at a distance to the winner on test.

    Args:
        folder: where the study is.
        label: the candidate's label.
        effect: how much better it is on test than the winner, a fraction.
        same_as: the label of the candidate whose training it shares, if any.
        seeds: its seeds.
        values: the candidate's fields, such as ``val_score``, and its settings.
    """
    file = folder / "candidates.json"
    candidates = json.loads(file.read_text())
    settings = {"subset": "none", "bias_lr": None, "ln_lr": None, "distill_weight": 0.0}
    added = {"label": label, "val_score": None, "source_trial": None, "same_as": same_as}
    candidates.append(with_settings(added | settings | values))
    file.write_text(json.dumps(candidates))
    if same_as is not None:
        return
    ledger = FakeLedger(folder, base_to_new="base_to_new" in (folder / "study.yaml").read_text())
    for number, seed in enumerate(seeds):
        best = (folder / f"trials/confirm-best-seed{seed}/reports.jsonl").read_text().splitlines()
        test = json.loads(best[-1])["test_score"] + effect + ledger.random.normal(0, 0.002)
        config = ledger.config("confirm", label, number, seed=seed, **{**settings, **values})
        ledger.write_trial(
            f"confirm-{label}-seed{seed}", config, epochs=EPOCHS, status="finished", test=test
        )


def add_answer(folder: Path, *, peer: float = -0.01, strength: float = 1.0) -> Path:
    """Add what studies of today test beside: a peer, the smallest, the ladder to the winner.

    Args:
        folder: where the finished study is, whose winner is given a linear head.
        peer: how much better the peer is on test than the winner, a fraction.
        strength: the protocol's strength.
    """
    head = {"head": "linear", "head_lr": 0.001, "head_steps": 100}

    def use(candidates: list[dict[str, Any]]) -> None:
        best = next(c for c in candidates if c["label"] == "best")
        best["settings"].update(head, strength=strength)

    edit_candidates(folder, use)
    candidates = json.loads((folder / "candidates.json").read_text())
    best = next(c["settings"] for c in candidates if c["label"] == "best")
    plain = {name: best[name] for name in ("subset", "distill_weight")}
    plain |= {f"{kind}_lr": best["rates"].get(kind) for kind in ("bias", "ln")}
    add_candidate(folder, "linear", peer, val_score=0.6, **head)
    add_candidate(folder, "smallest", -0.002, val_score=0.7, subset="vision.ln", ln_lr=0.01)
    add_candidate(folder, "best-plain", -0.02, **plain)
    add_candidate(
        folder,
        "best-text",
        -0.012,
        same_as="best-plain" if strength == 1.0 else None,
        **plain,
        strength=strength,
    )
    add_candidate(
        folder,
        "best-full-strength",
        -0.015,
        same_as="best" if strength == 1.0 else None,
        **plain,
        **head,
    )
    return folder


def configure(folder: Path, *overrides: str) -> None:
    """Change the configuration of a study, in place."""
    path = folder / "study.yaml"
    path.write_text(dump_config(load_config(path, overrides)))


def prepare(folder: Path, case: dict[str, Any]) -> Path:
    """Change a finished study as a case of `SAID` has it."""
    configure(folder, *case.get("overrides", ()))
    for candidate in case.get("candidates", ()):
        add_candidate(folder, **candidate)
    if "answer" in case:
        add_answer(folder, **case["answer"])
    for trial in case.get("deltas", ()):
        (folder / "trials" / trial / "delta.safetensors").write_bytes(b"")
    if "chosen" in case:
        edit_candidates(folder, lambda candidates: choose(candidates, case["chosen"]))
    if "version" in case:
        registration = Registration("clipfit-glyphs", case["version"], True, "it is the first")
        StudyFolder(folder).write_json(REGISTERED, registration)
    if case.get("forgotten"):
        forget_images(folder)
    return folder


def choose(candidates: list[dict[str, Any]], label: str) -> None:
    """Let validation choose another candidate."""
    next(c for c in candidates if c["label"] == "best")["same_as"] = label


def assert_said(text: str, case: dict[str, Any]) -> None:
    """What is said has the parts that a case of `SAID` wants, and none that it lacks."""
    for part in case.get("has", ()):
        assert part in text
    for part in case.get("lacks", ()):
        assert part not in text


def change_json(path: Path, **values: object) -> None:
    """Change values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_settings(path: Path, **values: object) -> None:
    """Change settings in the configuration of a trial."""
    change_json(path, settings=json.loads(path.read_text())["settings"] | values)


def edit_candidates(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the candidates of a study, in place."""
    candidates = json.loads((folder / "candidates.json").read_text())
    change(candidates)
    (folder / "candidates.json").write_text(json.dumps(candidates))


def forget_images(folder: Path) -> Path:
    """Take what tested trials predicted from a study, so that their test images are unknown."""
    for path in folder.glob(f"trials/*/{PREDICTIONS}"):
        path.unlink()
    return folder


def write_split(folder: Path, digest: str, *shots: object) -> None:
    """Record of a split of `CLASSES` which images were trained on, beside a test image."""
    lines = [
        {"dataset": "glyphs", "class_names": [*reversed(CLASSES)]},
        {"task": 0, "digest": "0"},
        {"classes": [*range(12)], "part": "train"},
        *shots,
        {"classes": [*range(12)], "part": "accuracy"},
        {"label": 0, "part": "accuracy", "path": "test.png"},
    ]
    (folder / "shots").mkdir(exist_ok=True)
    text = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    (folder / f"shots/tasks-{digest}.jsonl").write_text(text + "\n")


def shots_of(*names: str) -> list[dict[str, Any]]:
    """Training images with these names, of one class after another."""
    return [{"label": n % 12, "part": "train", "path": name} for n, name in enumerate(names)]


def share_images(folder: Path, share: float) -> Path:
    """Record what each tested seed trained on: so large a share of 20 images is common to all."""
    common = round(20 * share)
    for path in folder.glob("trials/[ca]*-seed*/config.json"):
        seed = json.loads(path.read_text())["seed"]
        names = [f"common-{n}" if n < common else f"{seed}-{n}" for n in range(20)]
        write_split(folder, f"{seed:04x}", *shots_of(*names))
        change_json(path, split_hash=f"{seed:04x}")
    return folder


def leave_one_seed(folder: Path) -> Path:
    """Take all seeds but the first from what a study tested."""
    for seed in SEEDS[1:]:
        for path in folder.glob(f"trials/[ca]*-seed{seed}"):
            shutil.rmtree(path)
    return folder


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
        for part in dict.fromkeys(prediction.part for prediction in before):
            predictions += predictions_of(part, CLASSES[: len(images)], counts)
        path.write_bytes(to_parquet(predictions))
    return folder


def board_of(folder: Path) -> Leaderboard:
    """The leaderboard of a study's folder."""
    return leaderboard(read_results(folder))


@pytest.fixture
def guessing_study(tmp_path: Path) -> Path:
    """A finished few-shot study in which nothing beats naming the class of most images."""
    folder = write_study(tmp_path / "guessing")
    return set_images(folder, 800, 100, 100, naming_the_largest=True)


@pytest.fixture
def ablation_study(tmp_path: Path) -> Path:
    """A finished few-shot ablation."""
    return write_ablation_study(tmp_path / "ablation")


@pytest.fixture
def few_shot_study(tmp_path: Path) -> Path:
    """A finished few-shot study."""
    return write_study(tmp_path / "glyphs-few-shot")


@pytest.fixture
def tuned_study(few_shot_study: Path) -> Path:
    """A finished few-shot study whose winner's seeds kept deltas of one text bias, each larger."""
    from study.backbones.load_backbone import load_backbone
    from study.embedded import backbone_path
    from study.method.delta import DeltaInfo, save_delta

    backbone = load_backbone(backbone_path("embedded"))
    name = "text_model.encoder.layers.0.mlp.fc2.bias"
    original = dict(backbone.clip.named_parameters())[name].detach()
    info = DeltaInfo(
        backbone="embedded",
        revision=None,
        fingerprint=backbone.fingerprint,
        subset="text.mlp.fc2.bias[0:1]",
        class_names=("a", "b", "c"),
        templates=("a photo of the {}.",),
    )
    for seed in range(1, 6):
        path = few_shot_study / f"trials/confirm-best-seed{seed}/delta.safetensors"
        save_delta(path, {name: original * (1 + seed / 10)}, info)
    return few_shot_study


@pytest.fixture
def unconfirmed_study(few_shot_study: Path) -> Path:
    """A few-shot study before its confirm stage."""
    (few_shot_study / "candidates.json").unlink()
    for trial in few_shot_study.glob("trials/confirm-*"):
        shutil.rmtree(trial)
    return few_shot_study


@pytest.fixture
def base_to_new_study(tmp_path: Path) -> Path:
    """A finished base-to-new study."""
    return write_study(tmp_path / "glyphs-base-to-new", base_to_new=True, seed=5)


@pytest.fixture(scope="session")
def drawn_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Chart, ...]]:
    """A finished base-to-new study with its charts, which take seconds: for reading only."""
    folder = write_study(tmp_path_factory.mktemp("drawn") / "glyphs", base_to_new=True, seed=5)
    results = read_results(folder)
    return folder, make_plots(results, leaderboard(results))


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """Writes further studies: takes the arguments of `write_study` less the folder."""
    return lambda name="study", **values: write_study(tmp_path / name, **values)
