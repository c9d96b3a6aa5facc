"""Which of two versions is champion, and what is said of it."""

from pathlib import Path

import pytest
import yaml

from study.tracking.mlflow.champion import judge

CASES = yaml.safe_load(Path(__file__).with_name("champion.yaml").read_text())
TAGS = {
    **{
        "protocol": "base_to_new",
        "metric": "hmean",
        "selection": "class_folds",
        "split_hash": "a1",
    },
    **{"val_score": "0.8", "study": "s"},
}


@pytest.mark.parametrize("challenger, champion, wins, why", CASES)
def test_the_alias_moves_for_a_better_validation_score_that_compares_alone(
    challenger: dict[str, str], champion: dict[str, str] | None, wins: bool, why: str
):
    holder = None if champion is None else TAGS | champion
    assert judge(TAGS | challenger, holder) == (wins, why)
