"""How much too high is the score of test images that resemble those of training?

    python tests/benchmarks/answer/leak.py

Of packaged digits there are five images each, as of a burst: the digit, and four that are moved by
up to a pixel of 32 and have noise. Published CLIPFit is trained on 24 images a class and tested,
once with each image as a group of its own, and once with each burst as a group. Each seed has
splits and shots of its own.
"""

from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.load_backbone import load_backbone
from study.config.loading import build_config
from study.data.datasets import load_dataset
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.study import Study
from tests.benchmarks.measuring import machine
from tests.small_trials import last_report

SEEDS = range(1, 11)


def main() -> None:
    """Print the scores of both splits."""
    print(machine(), flush=True)
    with TemporaryDirectory() as folder:
        bursts = draw(Path(folder))
        for column in ("path", "burst"):
            scores = [100 * score(bursts, column, seed) for seed in SEEDS]
            print(f"groups by {column}: {mean(scores):.1f} % ± {stdev(scores):.1f}", flush=True)


def draw(folder: Path) -> Path:
    """Write the images and their table, and return its path."""
    digits = load_dataset("digits")
    rng = np.random.default_rng(0)
    rows = ["path,class_name,burst"]
    for record in digits.train[::8]:
        pixels = np.asarray(digits.source.open_image(record.path).convert("L").resize((32, 32)))
        for strength in (0, 1, 1, 1, 1):
            moved = np.roll(pixels, strength * rng.integers(-1, 2, 2), (0, 1))
            noisy = moved + strength * rng.normal(0, 8, moved.shape)
            path = f"{len(rows)}.png"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / path)
            rows.append(f"{path},{digits.class_names[record.label]},{record.path}")
    (folder / "bursts.csv").write_text("\n".join(rows))
    return folder / "bursts.csv"


def score(file: Path, group: str, seed: int) -> float:
    """Return the test score of published CLIPFit, with a column of the table as the groups."""
    columns = {"group": group}
    data = {"dataset": f"bursts {seed}", "root": str(file), "columns": columns, "shots": 24}
    data |= {"short": "take_all", "augment": False}
    config = build_config({"storage": str(file.parent / f"{group}-{seed}"), "data": data}, "leak")
    config.storage.mkdir(exist_ok=True)
    backbone = load_backbone(backbone_path(EMBEDDED))
    preparer = Preparer(Study(config, StudyFolder(config.storage)), backbone.image_size)
    report = last_report(preparer.confirm(seed), backbone, seed=seed, epochs=30)
    return report.metrics["test_score"]


if __name__ == "__main__":
    main()
