"""A study as its parts share it."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from study.config.loading import build_config
from study.data import datasets
from study.storage.study_folder import StudyFolder
from study.trial.study import Study

UNREAD = StudyFolder(Path("unread"))


def test_every_option_of_a_dataset_reaches_its_reader(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "load_dataset", load := Mock())
    given = {"columns": {"image": "img"}, "splits": {"test": "holdout"}, "revision": "abc"}
    config = build_config({"data": {"dataset": "hf:owner/name", **given}}, "test")
    assert Study(config, UNREAD).dataset
    options = load.call_args.kwargs
    assert options.keys() == {"templates", "reading", *datasets.READER_OPTIONS}
    assert given.items() <= options.items()
