"""Optuna's choices: each asked for only where it acts, and a known configuration encoded back."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FixedTrial

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.method.subsets import parse
from study.search.space import OpenSpace, RateSpace
from tests.settings import settings

DEPTHS = Depths(text=2, vision=3)
SITES = ("text.mlp.fc2.bias", "text.ln_final", "vision.attn.bias", "vision.ln1", "vision.ln_post")
RATES = {"bias_lr": 0.01, "ln_lr": 0.02, "distill_weight": 3.0}
CLIPFIT = "text.mlp.fc2.bias + vision.ln"


def space(**given: Any) -> OpenSpace:
    return OpenSpace(SpaceConfig(**{"sites": SITES, **given}), DEPTHS)


class Recorder(FixedTrial):
    """Answers with given values, and remembers what it was asked for."""

    asked: set[str]

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        self.__dict__.setdefault("asked", set()).add(name)
        return super()._suggest(name, distribution)


def suggest(chosen: set[str], **windows: int) -> tuple[TrialSettings, set[str]]:
    """What is proposed when these sites are taken; and what else was asked for."""
    choices = {**{site: site in chosen for site in SITES}, **RATES, "head": "text"}
    trial = Recorder(choices | _dotted(windows))
    proposal = space().suggest(trial)
    return proposal, trial.asked - {*SITES, "head"}


def _dotted(windows: dict[str, int]) -> dict[str, int]:
    return {name.replace("_", ".", 1): value for name, value in windows.items()}


CASES = yaml.safe_load(Path(__file__).with_name("choices.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("chosen", "asked"), CASES)
def test_a_choice_is_asked_for_only_where_it_acts(chosen: list[str], asked: list[str]) -> None:
    everywhere = {"text_from": 0, "text_to": 1, "vision_from": 0, "vision_to": 2}
    proposal, got = suggest(set(chosen), **everywhere)
    assert got == set(asked)
    assert (proposal.rates.get("bias"), proposal.rates.get("ln")) == (
        RATES["bias_lr"] if "bias_lr" in asked else None,
        RATES["ln_lr"] if "ln_lr" in asked else None,
    )
    assert proposal.distill_weight == (3.0 if "distill_weight" in asked else 0.0)


@pytest.mark.parametrize(
    ("windows", "subset"),
    [
        ((0, 2), "vision.ln1 + vision.ln_post"),
        ((2, 0), "vision.ln1 + vision.ln_post"),
        ((1, 2), "vision.ln1[1:3] + vision.ln_post"),
        ((2, 1), "vision.ln1[1:3] + vision.ln_post"),
        ((1, 1), "vision.ln1[1:2] + vision.ln_post"),
    ],
)
def test_a_window_limits_the_sites_inside_the_blocks(windows: tuple[int, int], subset: str) -> None:
    proposal, _ = suggest(
        {"vision.ln1", "vision.ln_post"}, vision_from=windows[0], vision_to=windows[1]
    )
    assert proposal.subset == subset
    assert parse(subset).resolve(DEPTHS)


def test_without_windows_all_layers_are_tuned() -> None:
    trial = Recorder({**dict.fromkeys(SITES, True), **RATES, "head": "text"})
    proposal = space(windows=False).suggest(trial)
    assert parse(proposal.subset) == parse(" + ".join(SITES))
    assert not {name for name in trial.asked if name.endswith((".from", ".to"))}


@pytest.mark.parametrize("chosen", [set(), {"vision.ln_post"}, {"text.mlp.fc2.bias"}])
def test_a_whole_space_asks_for_everything_and_keeps_what_acts(chosen: set[str]) -> None:
    windows = {"text.from": 0, "text.to": 1, "vision.from": 0, "vision.to": 2}
    trial = Recorder({**{s: s in chosen for s in SITES}, **RATES, **windows, "head": "text"})
    proposal = space(whole=True).suggest(trial)
    assert trial.asked == {*SITES, *RATES, *windows, "head"}
    assert proposal == suggest(chosen, text_from=0, text_to=1, vision_from=0, vision_to=2)[0]


def test_a_whole_space_knows_what_a_conditional_one_left_out() -> None:
    whole = space(whole=True)
    for proposal in (settings("none"), settings("vision.ln_post", None, 0.01)):
        choices = whole.encode(proposal)
        assert choices is not None
        assert choices["bias_lr"][0] == pytest.approx(0.01), "between 0.0005 and 0.2"
        assert whole.suggest(FixedTrial({n: v for n, (v, _) in choices.items()})) == proposal
    assert whole.encode(settings("text.ln_final", None, 0.01, 0.0)) is None, "λ acts, and is out"


@pytest.mark.parametrize(
    "given", [{}, {"whole": True}, {"windows": False}], ids=["default", "whole", "all layers"]
)
def test_every_proposal_of_a_space_resolves_and_repeats_from_its_choices(
    given: dict[str, bool],
) -> None:
    open_space = OpenSpace(SpaceConfig(**given), DEPTHS)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    subsets = set()
    for _ in range(60):
        trial = study.ask()
        proposal = open_space.suggest(trial)
        assert parse(proposal.subset).resolve(DEPTHS) or proposal.subset == "none"
        assert str(parse(proposal.subset)) == proposal.subset
        assert open_space.suggest(FixedTrial(trial.params)) == proposal
        choices = open_space.encode(proposal)
        assert choices is not None
        values = {name: value for name, (value, _) in choices.items()}
        assert open_space.suggest(FixedTrial(values)) == proposal
        subsets.add(proposal.subset)
    assert len(subsets) > 40


@pytest.mark.parametrize(
    "foreign",
    [
        settings("bitfit", 0.01, None, 2.0),  # LayerNorm biases alone are no site of the space
        settings("vision.ln1[0:1] + vision.ln1[2:3]", None, 0.02),  # a window has no hole
        settings("vision.ln1[0:1] + vision.ln2", None, 0.02),  # an encoder has one window
        settings("vision.ln", None, 5.0),
        settings("vision.ln"),
        settings(CLIPFIT, 0.01, 0.02, 0.0),
    ],
)
def test_what_the_space_cannot_express_is_not_encoded(foreign: TrialSettings) -> None:
    assert OpenSpace(SpaceConfig(), DEPTHS).encode(foreign) is None


def test_clipfits_own_search_varies_its_rates_alone_over_the_same_ranges() -> None:
    config = SpaceConfig(rates={"bias": (0.001, 0.1), "ln": (0.002, 0.2)}, distill_weight=(0.5, 4))
    rates = RateSpace(config, DEPTHS, CLIPFIT)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    assert rates.suggest(trial).subset == CLIPFIT
    assert trial.distributions.keys() == {"bias_lr", "ln_lr", "distill_weight"}
    assert trial.distributions["bias_lr"] == FloatDistribution(0.001, 0.1, log=True)
    assert rates.encode(settings("clipfit", 0.05, 0.05, 1.0)) is not None
    assert rates.encode(settings("ln", None, 0.05, 1.0)) is None
    assert rates.encode(settings("clipfit", 0.5, 0.05, 1.0)) is None


def test_the_neighbours_of_a_subset_have_one_site_less_or_more() -> None:
    open_space = OpenSpace(SpaceConfig(), DEPTHS)
    clipfit = parse("clipfit")
    proposed = []
    for choices in open_space.neighbours(clipfit):
        proposal = open_space.suggest(FixedTrial({**choices, **RATES, "head": "text"}))
        proposed.append(parse(proposal.subset).resolve(DEPTHS))
    own = clipfit.resolve(DEPTHS)
    assert len(set(proposed)) == len(SpaceConfig().sites)
    assert all(leaves < own or leaves > own for leaves in proposed)
    assert [leaves < own for leaves in proposed[:4]] == [True, False, True, False]


def test_a_configuration_has_the_strength_of_the_space_unless_it_tunes_nothing() -> None:
    open_space = OpenSpace(SpaceConfig(sites=SITES), DEPTHS, strength=0.75)
    values = {**dict.fromkeys(SITES, False), **RATES, "head": "linear"}
    assert open_space.suggest(FixedTrial(values)).strength == 1.0
    tuned = open_space.suggest(FixedTrial({**values, "vision.ln_post": True}))
    assert (tuned.strength, tuned.head) == (0.75, "linear")
    assert open_space.encode(tuned) is not None
    assert open_space.encode(tuned.model_copy(update={"strength": 1.0})) is None
