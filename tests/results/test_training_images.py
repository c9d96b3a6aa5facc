"""What seeds trained on is read from the study's folder, and compared between seeds."""

from pathlib import Path

import pytest

from study.results.training_images import read_training_images, training_overlap
from tests.study_writer import StudyWriter


@pytest.mark.parametrize(
    "images, share",
    [
        (["abcd", "abcd"], 1.0),
        (["abcd", "abef", "abcd"], 2 / 3),
        (["abcd", "ab"], 2 / 3),
        (["abcd"], None),
        (["abcd", ""], None),
    ],
)
def test_the_share_is_the_mean_over_pairs_of_seeds(
    images: list[str], share: float | None, tmp_path: Path
):
    study = StudyWriter(tmp_path / "mine")
    digests = [f"a{number}" for number in range(len(images))]
    for digest, names in zip(digests, images, strict=True):
        study.record_split(digest, names)
    assert training_overlap(study.folder, digests) == pytest.approx(share)


def test_the_training_images_of_a_split_are_read_without_its_test_images(tmp_path: Path):
    study = StudyWriter(tmp_path / "mine")
    study.record_split("a1", "xyz")
    names = {"x": "glyph l", "y": "glyph k", "z": "glyph j"}
    assert read_training_images(study.folder, "a1") == names


@pytest.mark.parametrize(
    "digest, text",
    [
        *((digest, None) for digest in (None, "", "../a1", "b2")),
        *(("a1", text) for text in ("", "{", "[]\n", '{"class_names": ["a"]}\n{')),
    ],
)
def test_a_split_without_a_record_or_with_a_damaged_one_is_not_known(
    tmp_path: Path, digest: str | None, text: str | None
):
    study = StudyWriter(tmp_path / "mine")
    study.record_split("a1", "")
    if text is not None:
        broken = text + '{"part":"train","label":7}'
        (study.folder.path / "shots/tasks-a1.jsonl").write_text(broken)
    assert read_training_images(study.folder, digest) is None
