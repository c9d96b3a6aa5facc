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


def dataset_inputs(tasks: bytes, *, evaluated: str, root: Path | None) -> list[DatasetInput]:
    """Return the datasets that a trial is trained and evaluated on, one for each split.

    A digest is of the split's name, images and labels, since MLflow merges datasets of equal name
    and digest. So equal splits have equal digests in all studies and seeds.

    Args:
        tasks: the contents of the file of the trial's images, see `study.trial.prepare.Preparer`;
            if they are damaged, there are no datasets.
        evaluated: the split that the trial is evaluated on: "validation" or "test".
        root: the folder of the images; None means that they are in this package.
    """
    try:
        lines = [json.loads(line) for line in tasks.splitlines()]
        names = [line["dataset"] for line in lines if "dataset" in line]
        images = defaultdict(set)
        for line in lines:
            if "path" in line:
                split = "train" if line["part"] == "train" else evaluated
                # The part of an additional dataset has the name of that dataset.
                name = line["part"] if line["part"] in names[1:] else names[0]
                images[name, split].add(canonical_line(label=line["label"], path=line["path"]))
    except (ValueError, LookupError, TypeError):
        return []
    inputs = []
    for (name, split), texts in images.items():
        dataset = Dataset(
            name,
            sha256_of("\n".join([split, *sorted(texts)]).encode())[:DIGEST],
            source_type="local",
            source=json.dumps({"uri": str(root or name)}),
            profile=json.dumps({"num_rows": len(texts)}),
        )
        inputs.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, split)]))
    return inputs
