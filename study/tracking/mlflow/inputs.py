"""The images of a trial as MLflow's datasets, by which users filter and search runs."""

import json
from collections import defaultdict
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from study.data.shots import canonical_line
from study.storage.atomic import sha256_of

DIGEST = 8
"""The number of characters of a dataset's digest, the same as of MLflow's own digests."""


def dataset_inputs(
    tasks: bytes, split_hash: str, *, evaluated: str, root: Path | None
) -> list[DatasetInput]:
    """Return the datasets that a trial is trained and evaluated on, one for each split.

    A digest is of the split's name, images and labels, since MLflow merges datasets of equal name
    and digest. So equal splits have equal digests in all studies and seeds.

    Args:
        tasks: the contents of the file of the trial's images, see `study.trial.prepare.Preparer`;
            if they are damaged, there are no datasets.
        split_hash: the trial's split hash.
        evaluated: the split that the trial is evaluated on: "validation" or "test".
        root: the folder of the images; None means that they are in this package.
    """
    try:
        images = _group_images(tasks, split_hash, evaluated)
    except (ValueError, LookupError, TypeError):
        return []
    inputs = []
    for (name, split), lines in images.items():
        contents = "\n".join([split, *sorted(lines)])
        dataset = Dataset(
            name,
            sha256_of(contents.encode())[:DIGEST],
            source_type="local",
            source=json.dumps({"uri": str(root or name)}),
            profile=json.dumps({"num_rows": len(lines)}),
        )
        inputs.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, split)]))
    return inputs


def _group_images(tasks: bytes, split_hash: str, evaluated: str) -> dict[tuple[str, str], set[str]]:
    """Return a line for each image, by the names of its dataset and its split.

    Raises:
        ValueError: the lines do not have the split hash.
        LookupError: an image has no task or dataset.
        TypeError: a line is not a mapping.
    """
    dataset_names = []
    task_lines: list[list[str]] = []
    images = defaultdict(set)
    for text in tasks.decode().splitlines():
        line = json.loads(text)
        if "dataset" in line:
            dataset_names.append(line["dataset"])
        elif "task" in line:
            task_lines.append([])
        else:
            task_lines[-1].append(text)
            if "path" in line:
                part = line["part"]
                split = "train" if part == "train" else evaluated
                # The part of an additional dataset has the name of that dataset.
                name = part if part in dataset_names[1:] else dataset_names[0]
                images[name, split].add(canonical_line(label=line["label"], path=line["path"]))
    digests = [sha256_of("\n".join(lines).encode()) for lines in task_lines]
    if not sha256_of("".join(digests).encode()).startswith(split_hash):
        raise ValueError(f"the lines do not have the hash {split_hash}")
    return images
