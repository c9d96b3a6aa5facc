"""Optuna's choices: each asked for only where it acts, and a known configuration encoded back."""

from collections.abc import Collection, Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial

from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.method.subsets import parse
from study.search.space import Space
from tests.settings import settings

from .conftest import CLIPFIT, DEPTHS

SITES = ("text.mlp.fc2.bias", "text.ln_final", "vision.attn.bias", "vision.ln1", "vision.ln_post")
RATES = {"bias_lr": 0.01, "ln_lr": 0.02, "distill_weight": 3.0}
ALL_LAYERS = {"text.from": 0, "text.to": 1, "vision.from": 0, "vision.to": 2}


def space(**given: Any) -> Space:
    return Space(SpaceConfig(**{"sites": SITES, **given}), DEPTHS)


class Recorder(FixedTrial):
    """Answers with given values, and remembers what it was asked for."""

    def __init__(self, values: dict[str, Any]):
        super().__init__(values)
        self.asked: set[str] = set()

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        self.asked.add(name)
        return super()._suggest(name, distribution)


def suggest(
    chosen: Collection[str], layers: Mapping[str, int] = ALL_LAYERS, **of_space: Any
) -> tuple[TrialSettings, set[str]]:
    """What is proposed when these sites are taken; and what was asked for."""
    sites = {site: site in chosen for site in SITES}
    trial = Recorder({**sites, **RATES, **layers})
    return space(**of_space).suggest(trial), trial.asked


# The sites that are tuned, and what is proposed besides.
@pytest.mark.parametrize(
    "chosen, asked",
    [
        ([], []),
        (["text.ln_final"], ["distill_weight", "ln_lr"]),
        (["vision.ln_post"], ["ln_lr"]),
        (["vision.attn.bias", "vision.ln_post"], ["bias_lr", "ln_lr", "vision.from", "vision.to"]),
        (
            ["text.mlp.fc2.bias", "vision.ln1"],
            [*RATES, "text.from", "text.to", "vision.from", "vision.to"],
        ),
    ],
)
def test_a_choice_is_proposed_only_where_it_acts(chosen: list[str], asked: list[str]):
    proposal, got = suggest(chosen)
    assert got == {*SITES, *asked}
    bias, ln, weight = (RATES[name] if name in asked else None for name in RATES)
    own = settings(proposal.subset, bias, ln, weight or 0.0)
    assert proposal == own.model_copy(update={"head": None}), "the better head is a result"


@pytest.mark.parametrize(
    "first, last, subset",
    [
        (2, 0, "vision.ln1 + vision.ln_post"),
        (2, 1, "vision.ln1[1:3] + vision.ln_post"),
        (1, 1, "vision.ln1[1:2] + vision.ln_post"),
    ],
)
def test_a_window_limits_the_sites_inside_the_blocks(first: int, last: int, subset: str):
    windows = {"vision.from": first, "vision.to": last}
    proposal, _ = suggest({"vision.ln1", "vision.ln_post"}, windows)
    assert proposal.subset == subset


@pytest.mark.parametrize("given", [{}, {"windows": False}], ids=["default", "all layers"])
def test_every_proposal_of_a_space_resolves_and_repeats_from_its_choices(
    given: dict[str, bool],
):
    own = Space(SpaceConfig(**given), DEPTHS)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    subsets = set()
    for _ in range(60):
        trial = study.ask()
        proposal = own.suggest(trial)
        assert parse(proposal.subset).resolve(DEPTHS) or proposal.subset == "none"
        assert str(parse(proposal.subset)) == proposal.subset
        assert own.suggest(FixedTrial(trial.params)) == proposal
        choices = own.encode(proposal)
        assert choices is not None
        assert own.suggest(FixedTrial(choices.params)) == proposal
        subsets.add(proposal.subset)
    assert len(subsets) > 40


@pytest.mark.parametrize(
    "inexpressible",
    [
        settings("bitfit", 0.01, None, 2.0),  # LayerNorm biases alone are no site of the space
        settings("vision.ln1[0:1] + vision.ln1[2:3]", None, 0.02),  # a window has no hole
        settings("vision.ln1[0:1] + vision.ln2", None, 0.02),  # an encoder has one window
        settings("vision.ln", None, 5.0),
        settings("vision.ln"),
        settings(CLIPFIT, 0.01, 0.02, 0.0),
        TrialSettings.model_validate({"subset": "none", "method": {"method": "full", "lr": 0.01}}),
    ],
)
def test_what_the_space_cannot_express_is_not_encoded(inexpressible: TrialSettings):
    assert Space(SpaceConfig(), DEPTHS).encode(inexpressible) is None


def test_alpha_is_that_of_the_space_unless_nothing_is_tuned():
    own = Space(SpaceConfig(sites=SITES), DEPTHS, alpha=0.75)
    values = {**dict.fromkeys(SITES, False), **RATES}
    assert own.suggest(FixedTrial(values)).alpha == 1.0
    tuned = own.suggest(FixedTrial({**values, "vision.ln_post": True}))
    assert (tuned.alpha, tuned.head) == (0.75, None)
    whole = tuned.model_copy(update={"alpha": 1.0})
    assert [own.encode(one) is None for one in (tuned, whole)] == [False, True]
