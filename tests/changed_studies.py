"""Changes to studies that never ran, which tests make in place."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from study.config.loading import dump_config, load_config
from study.results.study_result import StudyResult, read_study_result
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import PREDICTIONS, VALIDATION
from study.trial.predictions import predictions_to_parquet
from study.trial.study import Prediction
from tests.fake_folder import CLASSES, SEEDS

HASH = "0123456789abcdef"
"""The hash of a split."""


def configure(folder: Path, *overrides: str):
    """Change the configuration of a study, in place."""
    path = folder / "study.yaml"
    path.write_text(dump_config(load_config(path, overrides)))


def choose(candidates: list[JsonObject], label: str):
    """Let validation choose another candidate, which stands before the best as in a real study."""
    by_label = {candidate["label"]: candidate for candidate in candidates}
    best, chosen = by_label["best"], by_label[label]
    best |= {key: chosen[key] for key in ("settings", "training")}
    chosen["val_score"] = 0.95
    candidates.remove(chosen)
    candidates.insert(candidates.index(best), chosen)


def change_json(path: Path, **values: object):
    """Change values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_settings(path: Path, **values: object):
    """Change settings in the configuration of a trial."""
    change_json(path, settings=json.loads(path.read_text())["settings"] | values)


def forget_images(folder: Path) -> Path:
    """Take what tested trials predicted from a study, so that their test images are unknown."""
    for path in folder.glob(f"trials/*/{PREDICTIONS}"):
        path.unlink()
    return folder


def write_split(folder: Path, digest: str, *shots: object):
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


def shots_of(*names: str) -> list[JsonObject]:
    """Training images with these names, of one class after another."""
    return [{"label": n % 12, "part": "train", "path": name} for n, name in enumerate(names)]


def add_final(folder: Path, images: str):
    """Add the final training, on other images."""
    configure(folder, f"final.images={images}")
    candidates = json.loads((folder / "candidates.json").read_text())
    best = next(candidate for candidate in candidates if candidate["label"] == "best")
    number = best["source_trial"].removeprefix("search-")
    trial = folder / f"trials/final-{images}-{number}"
    shutil.copytree(folder / "trials/test-best-seed1", trial)
    change_json(trial / "config.json", stage="final", split_hash="00ff")
    write_split(folder, "00ff", *shots_of(*map(str, range(60))))


def share_images(folder: Path, share: float) -> Path:
    """Record what each tested seed trained on: so large a share of 20 images is common to all."""
    common = round(20 * share)
    for path in folder.glob("trials/[ta]*-seed*/config.json"):
        seed = json.loads(path.read_text())["seed"]
        names = [f"common-{n}" if n < common else f"{seed}-{n}" for n in range(20)]
        write_split(folder, f"{seed:04x}", *shots_of(*names))
        change_json(path, split_hash=f"{seed:04x}")
    return folder


def leave_one_seed(folder: Path) -> Path:
    """Take all seeds but the first from what a study tested."""
    for seed in SEEDS[1:]:
        for path in folder.glob(f"trials/[ta]*-seed{seed}"):
            shutil.rmtree(path)
    return folder


def board_of(folder: Path) -> StudyResult:
    """The leaderboard of a study's folder."""
    return read_study_result(folder)


def set_split(folder: Path, digest: str) -> Path:
    for path in folder.glob("trials/test-best-seed*/config.json"):
        change_json(path, split_hash=digest)
    return folder


def predict(folder: Path, label: str, seed: int, *predicted: str):
    """Keep predictions of four images of class a, then four of class b, as if it were now."""
    trial = StudyFolder(folder).trial(f"test-{label}-seed{seed}")
    images = enumerate(zip("aaaabbbb", "".join(predicted), strict=False))
    found = [
        Prediction("text", "accuracy", f"{n}.png", true, taken, 0.9) for n, (true, taken) in images
    ]
    trial.write("predictions.parquet", predictions_to_parquet(found))


def keep_validation(trial: Path, rows: Sequence[Sequence[object]]):
    """Let a trial have validated images: the fold and so on of each, and its probabilities."""
    found = []
    for fold, *seen, true_probability in rows:
        values: JsonObject = dict(zip(Prediction._fields[1:], seen, strict=False))
        values |= {"true_probability": true_probability, "fold": fold}
        found.append(Prediction("text", **values))
    (trial / VALIDATION).write_bytes(predictions_to_parquet(found))


def doubt_labels_of(folder: Path, wrong: str, classes: Sequence[str]):
    """Let all trials of the search take the first of nine images for the second class."""
    rows = [(0, "accuracy", wrong, classes[0], classes[1], 0.9, 0.01)]
    for number in range(1, 9):
        label = classes[number % 2]
        rows.append((number % 3, "accuracy", f"{number}.png", label, label, 0.8, 0.8))
    for trial in folder.glob("trials/search-*"):
        keep_validation(trial, rows)
