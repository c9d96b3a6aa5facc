"""The miniature dataset, in the layout of the published one."""

from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.workflow.reproduction import quick_inputs


def test_the_miniature_is_read_as_the_published_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(quick_inputs, "write_random_checkpoint", lambda *_, **__: None)
    for _ in range(2):
        quick_inputs.write_quick_inputs(tmp_path)
    dataset = load_dataset("eurosat", tmp_path / "data")
    assert [len(records) for records in (dataset.train, dataset.val, dataset.test)] == [48] * 3
    assert dataset.class_names[0] == "Annual Crop Land"
    assert (tmp_path / "data" / "eurosat" / dataset.train[0].path).is_file()
