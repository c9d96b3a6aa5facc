"""The test of candidates on several seeds, of which those told apart from the winner get fewer."""

from collections.abc import Callable, Sequence

import pytest
from tiny_study import TinyStudy

from study.config.settings import Settings
from study.search import confirm as confirm_module
from study.search import stages
from study.search.confirm import run_confirm, scores_on_test
from study.selection import sequential
from study.trial import TrialConfig
from study.trial.study import Candidate

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

MakeStudy = Callable[..., TinyStudy]
SEEDS = [3, 1, 4, 2, 5]
CANDIDATES = [
    Candidate(label=label, settings=Settings.model_validate(own), same_as=same)
    for label, own, same in (
        ("zero-shot", {"subset": "none"}, None),
        ("best", {"subset": "vision.ln_post", "ln_lr": 0.1}, None),
        ("best-2", {"subset": "vision.ln_post", "ln_lr": 0.1, "strength": 0.5}, None),
        ("clipfit-tuned", {"subset": "vision.ln_pre", "ln_lr": 0.1}, None),
        ("smallest", {"subset": "vision.ln_post", "ln_lr": 0.1}, "best"),
    )
]


def seeds(study: TinyStudy) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for trial in study.folder.trials():
        config = trial.read_config()
        found.setdefault(config["label"], []).append(config["seed"])
    return found


def confirm(study: TinyStudy) -> list[tuple[Sequence[str], int]]:
    told: list[tuple[Sequence[str], int]] = []
    data = {seed: study.preparer.confirm(seed) for seed in SEEDS}
    run_confirm(
        study.study,
        CANDIDATES,
        data,
        [study.heard],
        telling=lambda sentences, trials: told.append((sentences, trials)),
    )
    return told


@pytest.mark.long
def test_what_is_told_apart_gets_no_more_seeds_and_that_stays(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On images that a tiny model cannot tell apart, whether the rule stops it would be chance.
    monkeypatch.setattr(sequential, "told_apart", lambda differences, count: len(differences) > 3)
    study = make_study("in-turn", confirm={"seeds": SEEDS, "sequential": True})
    told = confirm(study)
    four = sorted(SEEDS[:4])
    assert seeds(study) == {
        "zero-shot": four,
        "best": sorted(SEEDS),
        "best-2": four,
        "clipfit-tuned": sorted(SEEDS),
    }
    assert [trials for _, trials in told] == [20, 18]
    assert [len(sentences) for sentences, _ in told] == [0, 2]
    assert told[1][0][0].startswith("zero-shot: ")
    assert "after 4 of 5 seeds" in told[1][0][0]
    scores = scores_on_test(study.folder, CANDIDATES, SEEDS)
    assert {label: sorted(own) for label, own in scores.items()} == seeds(study)
    study.heard.events.clear()
    assert confirm(study) == told
    assert not study.heard.events


@pytest.mark.parametrize(("cells", "second"), [(1000, 1000), (1001, 1001)])
def test_no_two_cells_of_an_ablation_have_one_name_whatever_their_number(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, cells: int, second: int
) -> None:
    study = make_study(f"cells-{cells}")
    asked: list[TrialConfig] = []
    monkeypatch.setattr(confirm_module, "run_queue", lambda *given: asked.extend(given[2]))
    monkeypatch.setattr(stages, "compute_config_hash", lambda *_: "")  # takes a while
    chosen = [CANDIDATES[1].model_copy(update={"label": f"cell {n}"}) for n in range(cells)]
    data = dict.fromkeys((3, 1), study.data)
    run_confirm(study.study, chosen, data, [], stage="ablation")
    assert [(t.label, t.seed) for t in asked] == [(c.label, s) for s in (3, 1) for c in chosen]
    assert len({t.trial_id for t in asked}) == 2 * cells
    assert asked[cells].trial_id == f"ablation-{second}"


@pytest.mark.long
def test_without_it_every_candidate_has_every_seed(make_study: MakeStudy) -> None:
    study = make_study("all-seeds", confirm={"seeds": SEEDS})
    assert confirm(study) == []
    assert list(seeds(study).values()) == [sorted(SEEDS)] * 4
