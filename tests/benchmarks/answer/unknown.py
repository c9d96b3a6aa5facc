"""What predict --unknown finds: by its own estimate, and of test images of classes without a name.

    python tests/benchmarks/answer/unknown.py --only glyphs   # studies of `shipping.py`

A base-to-new study ships a model that was trained on base classes. Given their names alone, its
test images of new classes are of no class. Means over studies, ± t over studies.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import defaultdict
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from study.config.schema import StudyConfig
from study.data.images.table import ImageTable
from study.data.tasks import Part
from study.method.delta import KNOWN, load_delta
from study.method.unknown import check_unknown, unknown_below
from study.results.intervals import mean_interval
from study.results.refit import refit_of
from study.results.study_results import read_results
from study.serving.classifier import TunedClassifier
from study.serving.saved_model import read_saved_model
from study.trial.prepare import Preparer
from tests.benchmarks.answer.shipping import SHIPPED, case_configuration, with_refit
from tests.benchmarks.measuring import machine, table

PERCENTS = (5.0, 10.0)


def main() -> None:
    """Look at each study, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*SHIPPED], default=[*SHIPPED])
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(201, 211)])
    parser.add_argument("--storage", type=Path, default=Path("runs/shipping"))
    options = parser.parse_args()
    print(f"{shlex.join(sys.argv)}: {machine()}\n", flush=True)
    for name in options.only:
        configs = []
        for seed in options.seeds:
            configs.append(case_configuration(name, options.storage.resolve(), seed))
        with get_context("spawn").Pool(2) as pool:
            found = pool.map(look_at, configs, chunksize=1)
        values = defaultdict(list)
        for figures in found:
            for what, value in figures.items():
                values[what].append(100 * value)
        rows = []
        for what, numbers in values.items():
            interval = mean_interval(numbers)
            cell = f"{interval.mean:.1f} ± {interval.half_width or 0.0:.1f}"
            rows.append([what, cell, str(len(numbers))])
        print(table(SHIPPED[name].title, ("%", "mean ± 95 %", "studies"), rows), flush=True)


def look_at(config: StudyConfig) -> dict[str, float]:
    """Return the figures of a study as fractions; none if what it ships is no refitted average."""
    results = with_refit(read_results(config.storage / str(config.name)), average=3)
    refit = refit_of(results)
    if refit is None or not refit.members:
        return {}
    figures = {}
    if refit.unknown is not None:
        figures["estimate: found at 5 %"] = refit.unknown.found
        figures["estimate: AUROC"] = refit.unknown.auroc
    study = results.study
    data = Preparer(study, study.architecture().image_size).confirm(config.seed)
    base, *others = data.tasks[0].evaluations
    delta = results.folder.trial(refit.trial.trial_id).path / "delta.safetensors"
    names = [data.class_names[label] for label in base.classes]
    classifier = read_saved_model(delta).load_classifier(class_names=names)
    images = ImageTable(data.eval_images)
    known = best_logits(classifier, images, base)
    tensors, _ = load_delta(delta)
    for percent in PERCENTS:
        threshold = unknown_below(tensors[KNOWN].numpy(), percent)
        figures[f"known, called unknown at {percent:g} %"] = float(np.mean(known < threshold))
        for part in others:
            found = np.mean(best_logits(classifier, images, part) < threshold)
            figures[f"{part.name}, called unknown at {percent:g} %"] = float(found)
    for part in others:
        foreign = best_logits(classifier, images, part)
        figures[f"{part.name}, AUROC"] = check_unknown(known, foreign).auroc
        passed = np.mean(foreign >= np.quantile(known, 0.05))
        figures[f"{part.name}, taken for known where 95 % of known are"] = float(passed)
    return figures


def best_logits(classifier: TunedClassifier, images: ImageTable, part: Part) -> np.ndarray:
    """Return the best logit of each image of a part, (images,)."""
    paths: Sequence[str] = [record.path for record in part.records]
    batches = []
    for start in range(0, len(paths), 256):
        pixels = images.pixels(paths[start : start + 256]).permute(0, 2, 3, 1).numpy()
        batches.append(classifier.batch_logits(list(pixels)).amax(dim=-1).numpy())
    return np.concatenate(batches)


if __name__ == "__main__":
    main()
