"""Fixed views in trials: what is kept of them changes nothing, and is not computed twice."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from small_trials import Prepare, outcome, outcomes, trial
from torch import Tensor

from study.config.settings import Peer, Settings
from study.data.images.table import normalize
from study.data.images.views import view_path
from study.method.backbone import Backbone
from study.method.delta import HEAD_ROWS
from study.method.head import VIEWS as HEAD_VIEWS
from study.method.model import FewShotClassifier
from study.method.peers import PlainPass
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.trial import TrialData
from study.trial import views as views_of_trials
from study.trial.activations import CHUNK, IMAGES, open_table
from study.trial.machine_faults import free_memory
from study.trial.run import run_trial
from study.trial.views import VIEWS, WHOLE, ViewStates, begin_views

LINEAR: dict[str, Any] = {"head": "linear", "head_lr": 0.01, "head_steps": 30}
NUMBER = 3
"""The views of each image, as in `small_trials`."""


class Spy(StagedClassifier):
    """Remembers how many images it was given at a time."""

    def __init__(self, backbone: Backbone, subset: str = "vision.ln[-1]") -> None:
        super().__init__(FewShotClassifier(backbone, parse(subset)))
        self.given: list[int] = []

    def begin_images(self, pixel_values: Tensor) -> Tensor:
        self.given.append(len(pixel_values))
        return super().begin_images(pixel_values)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As for a large model, whose states are not computed together."""
    monkeypatch.setattr(views_of_trials, "SMALL", 0)
    monkeypatch.setattr(VIEWS, "room", VIEWS.room)
    free_memory()
    yield
    free_memory()


@pytest.fixture(scope="module")
def views(prepare: Prepare) -> TrialData:
    return prepare("views").search()


def test_states_are_those_of_the_views_in_the_order_wanted(
    views: TrialData, backbone: Backbone
) -> None:
    paths = [*open_table(views.train_images).paths]
    wanted = [paths[5], paths[2], paths[5], paths[0]]
    pixels = open_table(views.train_images).pixels(wanted)
    batch = normalize(pixels, backbone.image_mean, backbone.image_std)
    for subset in ("clipfit", "vision.ln[-1]", "vision.ln_post", "none"):
        spy = Spy(backbone, subset)
        begun = begin_views(spy, backbone, views.train_images, wanted, 8)
        torch.testing.assert_close(begun, StagedClassifier.begin_images(spy, batch))
    plain = PlainPass(FewShotClassifier(backbone, parse("clipfit")))
    assert torch.equal(begin_views(plain, backbone, views.train_images, wanted, 8), batch)


def test_each_view_passes_the_frozen_stages_once_and_alone(
    views: TrialData, backbone: Backbone
) -> None:
    paths = [*open_table(views.train_images).paths]
    spy = Spy(backbone)
    for wanted in (paths[:4], paths[2:6], [paths[7], paths[7]], paths[:8]):
        begin_views(spy, backbone, views.train_images, wanted, 8)
    assert spy.given == [1] * 8, "with others, a view might round otherwise"
    again = Spy(backbone)
    begin_views(again, backbone, views.train_images, paths[:8], 8)
    assert again.given == [], "another trial of the process finds them"
    deeper = Spy(backbone, "vision.ln2[-1]")
    begin_views(deeper, backbone, views.train_images, paths[:8], 8)
    assert len(deeper.given) == 8


def test_what_has_room_is_kept_and_the_rest_is_computed_again(
    views: TrialData, backbone: Backbone
) -> None:
    paths = [*open_table(views.train_images).paths][:10]
    spy = Spy(backbone)

    def epoch() -> Tensor:
        """As in training: some at a time, and all of them before the first comes again."""
        spy.given.clear()
        batches = (paths[at : at + 2] for at in range(0, len(paths), 2))
        return torch.cat([begin_views(spy, backbone, views.train_images, b, 8) for b in batches])

    whole = epoch()
    for fitting, missed in ((10, 0), (9, 1), (4, 6), (0, 10)):
        free_memory()
        VIEWS.room = fitting * whole[0].nbytes + 1
        assert torch.equal(epoch(), whole)
        for _ in range(2):  # whoever dropped the oldest would keep nothing that is wanted next
            assert torch.equal(epoch(), whole)
            assert len(spy.given) == missed


def test_few_states_are_computed_together_whatever_the_room(
    views: TrialData, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [*open_table(views.train_images).paths]
    few = 5 * 32 * len(paths)  # tokens of this width
    VIEWS.room = 0
    for limit, given in ((few, [CHUNK, len(paths) - CHUNK]), (few - 1, [1])):
        monkeypatch.setattr(views_of_trials, "SMALL", limit)
        spy = Spy(backbone)
        first = begin_views(spy, backbone, views.train_images, paths[:1], 8)
        assert spy.given == given
        assert first.shape == (1, 5, 32)
    assert (len(WHOLE.kept), len(IMAGES.kept)) == (1, 0), "evaluation has a cache of its own"


def test_other_passes_make_room_those_unused_the_longest_first_and_the_own_never() -> None:
    states = ViewStates(room=16)

    def keep(name: str, *paths: str) -> dict[str, int]:
        """Keep four bytes a path; return how many paths of each pass are kept then."""
        states.of((name,))
        for path in paths:
            states.keep((name,), path, torch.zeros(1))
        return {str(key[0]): len(kept) for key, kept in states._kept.items()}

    keep("a", "1", "2")
    assert keep("b", "1", "2") == {"a": 2, "b": 2}
    assert keep("a") == {"b": 2, "a": 2}
    assert keep("c", "1", "2") == {"a": 2, "c": 2}
    assert keep("c", "3", "4", "5", "6") == {"c": 4}
    assert [*states.of(("c",))] == ["1", "2", "3", "4"]
    assert keep("d", "1") == {"d": 1}, "what was dropped counts no longer"
    states.clear()
    assert keep("e", "1", "2", "3", "4", "5") == {"e": 4}


@pytest.mark.parametrize("changes", [{}, {"subset": "vision.ln[-1]", **LINEAR}])
def test_a_trial_is_the_same_to_the_bit_whatever_is_kept(
    views: TrialData, backbone: Backbone, changes: Mapping[str, Any]
) -> None:
    found = []
    for room in (0, 20_000, VIEWS.room):
        free_memory()
        VIEWS.room = room
        found.append(outcomes(run_trial(trial(**changes), views, backbone)))
    assert found[0] == found[1] == found[2]
    again = outcomes(run_trial(trial(**changes), views, backbone))
    assert again == found[0], "nor what an earlier trial of the process has kept"


@pytest.mark.parametrize(
    "changes", [{"subset": "vision.ln[-1]"}, {"head": "linear", "strength": 0.5}]
)
def test_a_trial_goes_on_from_any_epoch_to_the_bit(
    views: TrialData, backbone: Backbone, changes: Mapping[str, Any]
) -> None:
    config = trial(**changes)
    whole = list(run_trial(config, views, backbone))
    for report in whole[:-1]:
        free_memory()
        kept = {name: tensor.clone() for name, tensor in report.state.items()}
        rest = run_trial(config, views, backbone, (report.epoch, kept))
        assert outcomes(rest) == [outcome(later) for later in whole[report.epoch :]]


def test_each_image_is_shown_once_an_epoch_in_a_view_that_the_seed_draws(
    views: TrialData, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def begin(*given: Any) -> Tensor:
        shown.extend(given[3])
        return begin_views(*given)

    monkeypatch.setattr("study.trial.run.begin_views", begin)
    drawn = {}
    for seed in (1, 2):
        shown.clear()
        list(run_trial(trial(seed=seed), views, backbone))
        drawn[seed] = tuple(shown)
    assert drawn[1] != drawn[2]
    images = sorted(record.path for record in views.tasks[0].train.records)
    epochs = [drawn[1][at : at + len(images)] for at in range(0, len(drawn[1]), len(images))]
    assert len(epochs) == 4
    for epoch in epochs:
        assert sorted(path.rpartition("#")[0] for path in epoch) == images
    assert {path.rpartition("#")[2] for path in drawn[1]} == {"0", "1", "2"}
    assert len({frozenset(epoch) for epoch in epochs}) == 4, "other views in each epoch"


def test_a_head_is_trained_on_all_views_whatever_the_seed_of_the_trial(
    prepare: Prepare, views: TrialData, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def begin(*arguments: Any) -> Tensor:
        given.extend(arguments[3])
        return begin_views(*arguments)

    monkeypatch.setattr("study.trial.run.begin_views", begin)
    nothing = {"subset": "none", "epochs": 0, "bias_lr": None, "ln_lr": None, **LINEAR}
    rows = []
    for seed in (1, 2):
        (report,) = run_trial(trial(**nothing, seed=seed), views, backbone)
        rows.append(report.deltas[0][HEAD_ROWS])
    paths = [record.path for record in views.tasks[0].train.records]
    every = [view_path(path, number) for number in range(NUMBER) for path in paths]
    assert given == every * 2
    assert torch.equal(*rows)
    assert NUMBER != HEAD_VIEWS
    (fresh,) = run_trial(trial(**nothing), prepare("augmented").search(), backbone)
    assert not torch.equal(fresh.deltas[0][HEAD_ROWS], rows[0])


def test_a_peer_trains_on_the_same_views(views: TrialData, backbone: Backbone) -> None:
    settings = Settings(subset="none", peer=Peer(method="full", lr=0.02, optimizer="sgd"))
    training = {"batch_size": 8, "warmup_lr": 0.01}
    config = trial(training=training, epochs=2).model_copy(update={"settings": settings})
    first = outcomes(run_trial(config, views, backbone))
    assert outcomes(run_trial(config, views, backbone)) == first
    assert not VIEWS._kept, "their pixels are in the table"
