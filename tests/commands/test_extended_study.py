"""A study that ended is given more trials: the command line, whole."""

from pathlib import Path

import pytest

from study.run import main
from study.storage.study_folder import StudyFolder

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SMALL = ["data.shots=4", "data.augment=false", "training.epochs=3", "test.seeds=[1,2]"]
SMALL += ["test.runners_up=1", "search.selection=holdout"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("growth")


@pytest.fixture(scope="module")
def grown(place: Path, tiny_backbone: Path) -> StudyFolder:
    """A study of 8 trials, ended, and then given 8 more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        backbone = f"backbone.name={tiny_backbone}"
        assert main(["quickstart", "name=mine", backbone, "search.trials=8", *SMALL]) == 0
        folder = StudyFolder(place / "runs" / "mine")
        folder.write_json("before.json", [t.trial_id for t in folder.trials()])
        folder.write_json("chosen.json", folder.read_json("candidates.json"))
        assert main(["extend", "mine", "search.trials=+8"]) == 0
    return folder


def test_the_search_has_all_its_trials_and_the_first_ones_were_kept(grown: StudyFolder):
    configs = [trial.read_config() for trial in grown.trials()]
    whole = [config for config in configs if config["stage"] == "search"]
    numbers = [config["number"] for config in whole]
    assert numbers == list(range(len(whole))), "those of other methods are numbered with them"
    search = [config for config in whole if config["label"] != "linear"]
    assert len({config["config_hash"] for config in search}) == 16
    assert len({config["trial_id"] for config in search} & {*grown.read_json("before.json")}) == 8


def test_the_choice_was_made_anew_and_everything_chosen_is_tested(grown: StudyFolder):
    candidates = grown.read_json("candidates.json")
    chosen = {c["training"]: c["settings"]["rates"] for c in candidates}
    configs = [trial.read_config() for trial in grown.trials()]
    tested = [config for config in configs if config["stage"] == "test"]
    assert {config["label"]: config["settings"]["rates"] for config in tested} == chosen
    sources = {candidate["source_trial"] for candidate in candidates}
    before = {candidate["source_trial"] for candidate in grown.read_json("chosen.json")}
    assert before <= sources, "what was tested before is still told"
    leaderboard = (grown.path / "leaderboard.md").read_text()
    assert "extended after an earlier choice had been tested" in leaderboard
