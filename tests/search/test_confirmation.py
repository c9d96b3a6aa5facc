"""The test of candidates on several seeds."""

from collections.abc import Callable

import pytest

from study.config.trial_settings import TrialSettings
from study.search import confirmation as confirm_module
from study.search import stages
from study.search.confirmation import run_confirm
from study.trial import TrialConfig
from study.trial.study import Candidate
from tests.tiny_study import TinyStudy

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

MakeStudy = Callable[..., TinyStudy]
SEEDS = [3, 1, 4, 2, 5]
CANDIDATES = [
    Candidate(label=label, settings=TrialSettings.model_validate(own), same_as=same)
    for label, own, same in (
        ("zero-shot", {"subset": "none"}, None),
        ("best", {"subset": "vision.ln_post", "rates": {"ln": 0.1}}, None),
        ("best-2", {"subset": "vision.ln_post", "rates": {"ln": 0.1}, "strength": 0.5}, None),
        ("clipfit-tuned", {"subset": "vision.ln_pre", "rates": {"ln": 0.1}}, None),
        ("smallest", {"subset": "vision.ln_post", "rates": {"ln": 0.1}}, "best"),
    )
]


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
def test_every_candidate_has_every_seed_and_is_not_trained_again(make_study: MakeStudy) -> None:
    study = make_study("all-seeds", confirm={"seeds": SEEDS})
    data = {seed: study.preparer.confirm(seed) for seed in SEEDS}
    run_confirm(study.study, CANDIDATES, data, [study.heard])
    seeds: dict[str, list[int]] = {}
    for trial in study.folder.trials():
        config = trial.read_config()
        seeds.setdefault(config["label"], []).append(config["seed"])
    own = [candidate.label for candidate in CANDIDATES if candidate.same_as is None]
    assert seeds == {label: sorted(SEEDS) for label in own}
    study.heard.events.clear()
    run_confirm(study.study, CANDIDATES, data, [study.heard])
    assert not study.heard.events
