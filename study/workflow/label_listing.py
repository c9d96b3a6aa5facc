"""The labels of a study's training images that are to be checked, in a file and printed."""

import tempfile
from argparse import Namespace
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from study.data.records import Dataset, Record
from study.data.tasks import in_classes
from study.errors import DataError, StudyError
from study.process.terminal_table import amount, print_sentences, print_unwrapped
from study.report.label_tables import LABELS, describe_check, labels_csv, labels_table
from study.results.label_check import SHIPPED, DoubtedLabel, Votes
from study.results.study_results import Results, read_results
from study.results.training_images import read_training_images
from study.serving.saved_model import read_winner
from study.storage.atomic import write_atomically
from study.workflow.image_labels import check_csv
from study.workflow.json_documents import print_document


def list_doubted_labels(options: Namespace) -> None:
    """Write the labels to check to a file, and print the first of them.

    Raises:
        ConfigError: the file cannot be written.
        DataError: no finished trial has kept probabilities, or no model ships for ``--all``.
        LedgerError: a file of the study is damaged.
    """
    check_csv(options.out)
    results = read_results(options.folder.path)
    check = results.label_check
    if check is None:
        raise DataError(
            f"study '{results.folder.name}' has no finished search trial that kept probabilities "
            "of validation images (a study without a search, or of an earlier state, has none)"
        )
    doubted = check.doubted
    count = len(check.paths)
    print_sentences(options.console, describe_check(check))
    if options.all:
        further, scored = doubt_further_labels(results, check.paths)
        doubted += further
        count += scored
        print_sentences(
            options.console,
            f"{len(further)} of {amount(scored, 'label')} of further training images are doubtful. "
            "One model scored them, the one that ships, and no ensemble.",
        )
    out = options.out or results.folder.path / LABELS
    write_atomically(out, labels_csv(doubted))
    if options.json:
        rows = [label._asdict() for label in doubted]
        print_document({"file": str(out), "scored": count, "doubted": rows})
        return
    if doubted:
        options.console.print(labels_table(doubted), highlight=False)
        advice = "Look at these images; correct the labels that are wrong, and run a new study."
        print_sentences(options.console, advice)
    print_unwrapped(options.console, str(out))


def doubt_further_labels(
    results: Results, scored: Collection[str]
) -> tuple[tuple[DoubtedLabel, ...], int]:
    """Return the doubted labels of training images that neither trials nor what ships have seen.

    Args:
        results: the results of the study.
        scored: the paths of the images that trials scored.

    Returns:
        The doubted labels, and how many labels the model that ships scored.

    Raises:
        DataError: no model ships, or nothing says what it was trained on.
    """
    dataset = results.study.dataset
    with tempfile.TemporaryDirectory(prefix="clipfit-labels-") as scratch:
        saved = read_winner(results.study, Path(scratch))
        classifier = saved.load_classifier(class_names=dataset.class_names)
    origin = saved.origin.trial if saved.origin else ""
    split_hash = results.folder.trial(origin).read_config().get("split_hash")
    trained = read_training_images(results.folder, split_hash)
    if trained is None:
        raise DataError(f"{results.folder.path / 'shots'} does not say what {saved.name} has seen")
    seen = {record.path for record in trained.records}.union(scored)
    classes = {record.label for record in trained.records}
    further = in_classes(dataset.train + dataset.val, classes)
    records = [record for record in further if record.path not in seen]
    readable: list[Record] = []
    probabilities = classifier.probabilities(_open_images(dataset, records, readable)).double()
    votes = Votes(
        [record.path for record in readable],
        dataset.class_names,
        np.array([record.label for record in readable], np.int64),
        probabilities.numpy(),
        np.eye(len(dataset.class_names), dtype=np.int64)[probabilities.argmax(dim=1)],
    )
    return votes.doubted(SHIPPED), len(readable)


def _open_images(
    dataset: Dataset, records: Sequence[Record], readable: list[Record]
) -> Iterator[Image.Image]:
    """Yield the images that can be read, and collect their records."""
    for record in records:
        with suppress(StudyError):
            image = dataset.source.open_image(record.path)
            readable.append(record)
            yield image
