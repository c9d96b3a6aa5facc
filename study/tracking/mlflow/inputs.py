"""The images of a trial as MLflow's datasets, by which its pages and searches filter runs."""

import json
from collections import defaultdict
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from study.data.shots import canonical_line
from study.storage.atomic import sha256_of

DIGEST = 8
"""The number of characters of a dataset's digest, as many as MLflow's own have."""


def dataset_inputs(
    tasks: bytes, split_hash: str, *, evaluated: str, root: Path | None
) -> list[DatasetInput]:
    """Return the datasets that a trial trains and is evaluated on, one a split.

    Each has its own digest, of its images and labels, since MLflow takes two datasets of equal name
    and digest for one. Equal splits have equal digests, whichever study and seed they are of.

    Args:
        tasks: the file of the trial's images, see `study.trial.prepare.Preparer`; of a file that is
            damaged, nothing is returned.
        split_hash: the trial's split hash.
        evaluated: the split that the trial is evaluated on: "validation" or "test".
        root: where the images are; None means in this package.
    """
    try:
        images = _images(tasks, split_hash, evaluated)
    except (ValueError, LookupError, TypeError):
        return []
    return [
        DatasetInput(
            Dataset(
                name,
                sha256_of("\n".join([split, *sorted(own)]).encode())[:DIGEST],
                source_type="local",
                source=json.dumps({"uri": str(root or name)}),
                profile=json.dumps({"num_rows": len(own)}),
            ),
            [InputTag(MLFLOW_DATASET_CONTEXT, split)],
        )
        for (name, split), own in images.items()
    ]


def _images(tasks: bytes, split_hash: str, evaluated: str) -> dict[tuple[str, str], set[str]]:
    """Return a line for each image, by the dataset and the split that it is of.

    Raises:
        ValueError: the lines do not have the split hash.
        LookupError: an image is of no task or dataset.
        TypeError: a line is no mapping.
    """
    names: list[str] = []
    lines: list[list[str]] = []  # of each task
    images: dict[tuple[str, str], set[str]] = defaultdict(set)
    for text in tasks.decode().splitlines():
        line = json.loads(text)
        if "dataset" in line:
            names.append(line["dataset"])
        elif "task" in line:
            lines.append([])
        else:
            lines[-1].append(text)
            if "path" in line:
                part = line["part"]
                split = "train" if part == "train" else evaluated
                # A part of a further dataset has that one's name.
                name = part if part in names[1:] else names[0]
                images[name, split].add(canonical_line(label=line["label"], path=line["path"]))
    digests = (sha256_of("\n".join(own).encode()) for own in lines)
    if not sha256_of("".join(digests).encode()).startswith(split_hash):
        raise ValueError(f"the lines do not have the hash {split_hash}")
    return images
