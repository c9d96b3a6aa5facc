"""Studies that were tested on the same images are counted, and no others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.results.shared_test import count_studies_on_same_test
from study.storage.study_folder import StudyFolder
from tests.changed_studies import configure, forget_images


def damage(folder: Path):
    for path in folder.glob("trials/test-*/predictions.parquet"):
        path.write_bytes(b"no table")


@pytest.mark.parametrize(
    "change, others",
    [
        (lambda _: None, 1),
        (forget_images, 0),  # it was not tested, and has read nothing
        (lambda folder: configure(folder, "data.dataset=digits"), 0),
        (lambda folder: configure(folder, "data.root=/else"), 0),
        (damage, 0),
    ],
)
def test_studies_that_read_the_same_images_are_counted_and_no_others(
    make_study: Callable[..., Path], change: Callable[[Path], object], others: int
):
    folder, other = make_study("one"), make_study("two")
    change(other)
    assert count_studies_on_same_test(StudyFolder(folder)) == others
