"""A refit that is asked for later changes what ships and nothing that was tested."""

from pathlib import Path

import pytest

from study.config.loading import load_config
from study.config.schema import RefitConfig
from study.errors import ConfigError
from study.selection.later_refit import ask_for_refit, refitted_config, was_asked_after_test
from study.storage.study_folder import REGISTERED, Registration
from study.storage.trial_folder import End
from study.trial.study import Study
from tests.case_tables import from_table
from tests.written_study import Written


@pytest.fixture
def finished(tmp_path: Path) -> Study:
    """A study that has tested its winner."""
    written = Written(tmp_path, "mine")
    config = written.whole(1)
    values = {"settings": config.settings.model_dump(mode="json")}
    written.folder.write_json("candidates.json", [{**values, "label": "best"}])
    registered = Registration("clipfit-digits", "1", True, "it is the first")
    written.folder.write_json(REGISTERED, registered)
    written.conclude()
    return written.study


def test_it_ships_something_else_and_says_that_the_test_had_been_read(finished: Study):
    assert not was_asked_after_test(finished)
    config = refitted_config(finished, ["refit.images=pool"])
    ask_for_refit(finished, config)
    now = Study(load_config(finished.folder.config_path, frozen=True), finished.folder)
    assert now.config.refit.images == "pool"
    assert was_asked_after_test(now)
    assert now.candidates() is not None, "the choice stays"
    assert now.folder.read_registration() is None
    assert not now.folder.is_complete()


def test_what_failed_is_tried_again(finished: Study):
    config = finished.config.model_copy(update={"refit": RefitConfig()})
    study = Study(config, finished.folder)
    trial = finished.folder.trial("refit-labelled-")
    trial.create({})
    trial.write_end(End("failed", 1, 1.0))
    ask_for_refit(study, refitted_config(study, []))
    assert trial.read_end() is None


@from_table
def test_what_changes_nothing_or_what_was_tested_is_refused(
    finished: Study, overrides: list[str], told: str
):
    before = finished.folder.config_path.read_bytes()
    with pytest.raises(ConfigError, match=told):
        refitted_config(finished, overrides)
    assert finished.folder.config_path.read_bytes() == before


def test_a_study_that_is_not_finished_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="has no finished choice"):
        refitted_config(Written(tmp_path, "mine").study, ["refit.images=pool"])
