from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.data.other_class import NO_CLASS
from study.errors import DataError
from tests.image_folders import image_folder


@pytest.mark.parametrize("name", ["Unknown", "other", "MISC"])
def test_a_class_of_such_a_name_is_never_one_without_being_asked(name: str, tmp_path: Path):
    names = ("ant", name, "zebra")
    root = image_folder(tmp_path, names, names)
    told = f"mine: is '{name}' a class\\? .* data.other=foreign .* data.other=class "
    with pytest.raises(DataError, match=told):
        load_dataset("mine", root)
    assert load_dataset("mine", root, other="class").class_names == tuple(sorted(names))
    dataset = load_dataset("mine", root, other="foreign")
    assert dataset.class_names == ("ant", "zebra")
    for records in (dataset.train, dataset.test):
        assert {(r.path.split("/")[1], r.label) for r in records} == {("ant", 0), ("zebra", 1)}
    assert len(dataset.foreign) == 12
    assert {(r.path.split("/")[1], r.label) for r in dataset.foreign} == {(name, NO_CLASS)}
