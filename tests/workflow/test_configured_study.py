"""The study that a command names."""

import re
from pathlib import Path

import pytest

from study.config.loading import ConfigFaults
from study.storage.study_folder import StudyFolder
from study.workflow.check import StudyFaults
from study.workflow.configured_study import load_study, make_study, naming_overrides


def test_a_study_without_a_name_is_called_by_its_file_and_no_two_the_same(here: Path) -> None:
    source = here / "my study (copy).yaml"
    source.write_text("")
    names = [make_study(source, []).folder.name for _ in range(2)]
    assert len({*names}) == 2
    for name in names:
        assert re.fullmatch(r"my-study-copy-\d{8}-\d{6}-[0-9a-f]{4}", name)
    named = make_study(source, ["name=mine", "storage=elsewhere"])
    assert named.folder.path == Path("elsewhere/mine")


def test_faults_of_values_are_told_with_those_of_what_the_other_sections_name(here: Path) -> None:
    source = here / "mine.yaml"
    source.write_text("seed: many\n")
    with pytest.raises(ConfigFaults) as caught:
        make_study(source, ["data.dataset=eurosta"])
    places = [line.strip().partition(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert places[:2] == ["seed", "data"]


def test_the_study_of_a_folder_has_what_it_began_with_and_what_may_change(
    mine: StudyFolder,
) -> None:
    study = load_study(mine, ["resources.max_concurrent=3"])
    assert study.folder is mine
    assert (study.config.name, study.config.resources.max_concurrent) == ("mine", 3)


def test_faults_name_the_override_that_they_come_from() -> None:
    told = r"data\.root: no such folder \(override data\.root=away\)"
    with pytest.raises(StudyFaults, match=told), naming_overrides(["data.root=away"]):
        raise StudyFaults(["data.root: no such folder"])
