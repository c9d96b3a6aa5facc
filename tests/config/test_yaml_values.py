"""YAML and overrides are read as people mean them, or refused."""

import re
from pathlib import Path

import pytest

from study.config.loading import load_config
from tests.config_faults import told_of
from tests.not_none import not_none
from tests.settings import settings


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed", "section.field=value"),
        ("=3", "section.field=value"),
        ("search..trials=3", "section.field=value"),
        ("seed=[", "not valid YAML"),
        ("seed.deeper=3", "not a section"),
        ("search.trails=3", "did you mean 'trials'?"),
    ],
)
def test_an_override_at_fault_is_named(file: Path, override: str, told: str) -> None:
    file.write_text("seed: 1\n")
    assert told in told_of(file, override)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("seed=1", "seed=2"),
        ("seed=1", "seed=1"),
        ("data={shots: 4}", "data.shots=2"),
        ("search.space.sites=[text.ln1]", "search={trials: 20}"),
    ],
)
def test_two_overrides_of_one_value_are_refused(file: Path, first: str, second: str) -> None:
    told = told_of(file, first, "confirm.runners_up=1", second)
    assert f"'{first}' and '{second}'" in told
    assert "runners_up" not in told


def test_overrides_of_neighbours_go_together(file: Path) -> None:
    config = load_config(file, ["data.shots=4", "data.shots_from=published", "seed=2"])
    assert (config.data.shots, str(config.data.shots_from)) == (4, "published")


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        (b"- 1\n- 2\n", "mapping"),
        (b"seed: [1\n", "not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
        (b"seed: 1\nseed: 2\n", "'seed' is given twice"),
        (b"data: {shots: 1, shots: 2}\n", "'shots' is given twice"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(
    file: Path, contents: bytes | None, told: str
) -> None:
    file.unlink()
    if contents is not None:
        file.write_bytes(contents)
    assert re.search(f"mine.yaml.*{told}", told_of(file), re.DOTALL)


def test_what_is_merged_gives_way_to_what_is_given(file: Path) -> None:
    file.write_text(
        "search:\n"
        "  baselines:\n"
        "    zero-shot: {subset: none}\n"
        "    clipfit: &rates {subset: clipfit, rates: {bias: 0.1, ln: 0.2}}\n"
        "    ln: {<<: *rates, subset: ln, rates: {ln: 0.3}}\n"
    )
    assert load_config(file).search.baselines["ln"] == settings("ln", None, 0.3)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *((text, text) for text in ("010", "0x10", "0b11", "0o7", "1:30", "-017", "1:30.5", "08")),
        *(("'08'", "08"), ("[1, 010]", "010")),
    ],
)
def test_a_number_that_is_hardly_meant_is_refused(file: Path, text: str, number: str) -> None:
    key = "confirm.seeds" if text[0] == "[" else "search.minutes"
    overridden = told_of(file, f"{key}={text}")
    file.write_text(f"{key}: {text}\n")
    for told in (overridden, told_of(file)):
        assert number in told


@pytest.mark.parametrize("text", ["10", "0", "+50", "1_000", "1e3", "1.5", "-0"])
def test_a_number_that_is_meant_is_taken(file: Path, text: str) -> None:
    assert load_config(file, [f"training.warmup_lr={text}"]).training.warmup_lr == float(text)


def test_keys_with_dots_may_stand_at_the_top_of_a_file(file: Path) -> None:
    file.write_text("search.trials: 30\nsearch: {minutes: 5}\nsearch.asha.grace_period: 4\n")
    search = load_config(file).search
    assert (search.trials, search.minutes, not_none(search.asha).grace_period) == (30, 5, 4)
    assert load_config(file, ["search.trials=40"]).search.trials == 40


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("search.trials: 30\nsearch: {trials: 40}\n", "sets 'search.trials' twice"),
        ("search: {asha.grace_period: 4}\n", "search.asha.grace_period: unknown key; keys with"),
        ("search: 5\nsearch.trials: 30\n", "search is 5, not a section"),
        ("search.trails: 30\n", "search.trails: unknown key; did you mean 'trials'?"),
    ],
)
def test_keys_with_dots_that_cannot_be_meant_are_told(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    assert told in told_of(file)
