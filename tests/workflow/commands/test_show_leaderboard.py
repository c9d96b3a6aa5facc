"""The command ``leaderboard``."""

import re
from pathlib import Path

from tests.case_tables import from_table
from tests.workflow.conftest import Run


@from_table
def test_options_of_the_leaderboard_that_do_not_go_together_are_refused(
    few_shot_study: Path, run: Run, arguments: tuple[str, ...]
):
    words = [few_shot_study if word == "study" else word for word in arguments]
    ran = run("leaderboard", *words)
    assert (ran.code, ran.out) == (2, "")
    assert re.match("error: --(format|top|study|to|base) .*(allowed|leave|ablations)", ran.err)
