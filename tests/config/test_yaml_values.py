"""YAML and overrides are read as people mean them, or refused."""

from pathlib import Path

from study.config.loading import load_config
from tests.case_tables import from_table
from tests.not_none import not_none
from tests.settings import settings


def test_overrides_of_neighbours_go_together(file: Path):
    config = load_config(file, ["data.shots=4", "data.shots_from=published", "seed=2"])
    assert (config.data.shots, str(config.data.shots_from)) == (4, "published")


def test_what_is_merged_gives_way_to_what_is_given(file: Path):
    file.write_text(
        "search:\n"
        "  baselines:\n"
        "    zero-shot: {subset: none}\n"
        "    clipfit: &rates {subset: clipfit, rates: {bias: 0.1, ln: 0.2}}\n"
        "    ln: {<<: *rates, subset: ln, rates: {ln: 0.3}}\n"
    )
    assert load_config(file).search.fixed_baselines["ln"] == settings("ln", None, 0.3)


@from_table
def test_a_number_that_is_meant_is_taken(file: Path, text: str):
    config = load_config(file, [f"data.pixel_range=[-1, {text}]"])
    assert config.data.pixel_range == (-1, float(text))


def test_keys_with_dots_may_stand_at_the_top_of_a_file(file: Path):
    file.write_text("search.trials: 30\nsearch: {minutes: 5}\nsearch.asha.grace_period: 4\n")
    search = load_config(file).search
    assert (search.trials, search.minutes, not_none(search.asha).grace_period) == (30, 5, 4)
    assert load_config(file, ["search.trials=40"]).search.trials == 40
