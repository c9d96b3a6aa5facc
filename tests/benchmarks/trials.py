"""What begins a trial and what judges it, in a process whose backbone is loaded.

    python tests/benchmarks/trials.py

Start: from the next trial's configuration to its first training step, at the embedded study and at
ViT-B/16 shapes, on digits. Evaluation: a whole one of trials, of images begun before, beside
`predict` of the reading version; text is encoded once in both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from paired import machine, medians, table
from step import make_backbone

from study.config.loading import build_config
from study.data.images.table import normalize
from study.embedded import backbone_path
from study.method import training
from study.method.backbone import Backbone, load_backbone
from study.method.model import encode_prompts, predict
from study.storage.ledger import StudyFolder
from study.trial import TrialConfig, TrialData
from study.trial.activations import open_table
from study.trial.prepare import Preparer
from study.trial.run import TaskRun, run_trial
from study.trial.study import Study

SUBSETS = ("clipfit", "vision.ln[-2:]", "text-bias")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64, help="that an evaluation is of")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), end="\n\n")
    print(start(options.rounds))
    print(evaluation(options.images, options.rounds))


def start(rounds: int, *, small: bool = False) -> str:
    """Measure how long a trial takes to its first step; give the table."""
    rows = []
    embedded = load_backbone(backbone_path("embedded"))
    shapes = {"embedded": embedded, "ViT-B/16": shaped(embedded, small=small)}
    with tempfile.TemporaryDirectory() as folder:
        for name, backbone in shapes.items():
            data = digits(Path(folder), backbone.image_size)
            for subset in SUBSETS[:: 2 if small else 1]:
                # The first trial of a process reads the images and computes what all share.
                times = [_time_to_first_step(subset, data, backbone) for _ in range(rounds + 1)]
                later = sorted(times[1:])
                rows.append([name, subset, f"{times[0]:.3f}", f"{later[len(later) // 2]:.3f}"])
    headings = ("backbone", "subset", "first trial of a process, s", "later trials, s")
    return table("From a trial's configuration to its first step, wall seconds", headings, rows)


def evaluation(images: int, rounds: int, *, small: bool = False) -> str:
    """Measure whole evaluations in turn; give the table."""
    backbone, rows = shaped(load_backbone(backbone_path("embedded")), small=small), []
    with tempfile.TemporaryDirectory() as folder:
        data = digits(Path(folder), backbone.image_size)
        (task, *_) = data.tasks
        part = replace(task.evaluations[0], records=task.evaluations[0].records[:images])
        task = replace(task, evaluations=(part,))
        for subset in SUBSETS:
            run = TaskRun(trial(subset), data, backbone, task, 0)
            table_of = open_table(data.eval_images)
            paths = [record.path for record in part.records]

            def plain(run: TaskRun = run, paths: list[str] = paths) -> None:
                pixels = table_of.pixels(paths)  # noqa: B023
                batch = normalize(pixels, backbone.image_mean, backbone.image_std)
                with torch.no_grad():
                    text = encode_prompts(run.classifier, run.input_ids)
                predict(run.classifier, batch.split(64), text)

            found = medians({"plain": plain, "ours": lambda: run.evaluate(())}, rounds)  # noqa: B023
            speeds = [f"{len(paths) / found[name]:.1f}" for name in ("plain", "ours")]
            rows.append([subset, *speeds, f"{found['plain'] / found['ours']:.2f}"])
    headings = ("subset", "plain, images/s", "ours, images/s", "plain / ours")
    title = f"Evaluating {images} images at ViT-B/16 shapes, CPU seconds, medians of {rounds}"
    return table(title, headings, rows)


def shaped(embedded: Backbone, *, small: bool) -> Backbone:
    """Give random weights in the shapes of ViT-B/16 with the embedded checkpoint's tokenizer."""
    backbone = make_backbone(small=small)
    backbone.clip.config.text_config.eos_token_id = embedded.clip.config.text_config.eos_token_id
    return replace(backbone, tokenizer=embedded.tokenizer)


def digits(storage: Path, image_size: int) -> TrialData:
    """Prepare the embedded study's search."""
    values = {"name": "bench", "storage": str(storage), "data": {"augment": False, "shots": 4}}
    config = build_config(values, "bench")
    folder = storage / f"bench-{image_size}"
    folder.mkdir(exist_ok=True)  # a study makes its own, and waits for one that is gone
    return Preparer(Study(config, StudyFolder(folder)), image_size).search()


def trial(subset: str) -> TrialConfig:
    """Give a trial of one epoch."""
    return TrialConfig(
        trial_id="search-0000",
        stage="search",
        arm="search",
        label="",
        number=0,
        seed=1,
        subset=subset,
        subset_key="",
        trainable=1,
        bias_lr=0.002,
        ln_lr=0.002,
        distill_weight=8.0,
        epochs=1,
        split_hash="",
    )


class _FirstStepError(Exception):
    """The first step is about to be taken."""


@contextmanager
def _stopping_at_the_first_step() -> Iterator[None]:
    real = training.training_step

    def stop(*_: object, **__: object) -> None:
        raise _FirstStepError

    training.training_step = stop  # type: ignore[assignment]
    try:
        yield
    finally:
        training.training_step = real


def _time_to_first_step(subset: str, data: TrialData, backbone: Backbone) -> float:
    with _stopping_at_the_first_step():
        began = time.perf_counter()
        try:
            next(run_trial(trial(subset), data, backbone))
        except _FirstStepError:
            return time.perf_counter() - began
    raise RuntimeError("a trial took no step")


if __name__ == "__main__":
    main()
