"""Studies that were tested on the same images are counted, and no others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.results.shared_test import count_studies_on_same_test
from study.results.study_results import read_results
from tests.changed_studies import forget_images


def readers(folder: Path) -> int:
    return count_studies_on_same_test(read_results(folder))


def test_a_study_that_was_not_tested_has_read_nothing(make_study: Callable[..., Path]) -> None:
    folder, other = make_study("one"), make_study("two")
    assert (readers(folder), readers(other)) == (1, 1)
    forget_images(other)
    assert (readers(folder), readers(other)) == (0, 0)


@pytest.mark.parametrize(
    ("before", "after"), [("dataset: glyphs", "dataset: digits"), ("root: null", "root: /else")]
)
def test_equal_paths_of_another_dataset_or_folder_are_other_images(
    make_study: Callable[..., Path], before: str, after: str
) -> None:
    folder, other = make_study("one"), make_study("two")
    path = other / "study.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    assert readers(folder) == 0


def test_a_damaged_study_is_not_counted(make_study: Callable[..., Path]) -> None:
    folder, other = make_study("one"), make_study("two")
    for path in other.glob("trials/confirm-*/predictions.parquet"):
        path.write_bytes(b"no table")
    assert readers(folder) == 0
