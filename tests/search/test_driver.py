"""Real Ray: trials are stopped, fail, lose their workers, and nothing of it is lost or doubled."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from optuna.trial import TrialState
from tiny_study import TinyStudy, kill_worker, optuna_trials, statuses, untimed

from study.config.loading import load_config
from study.config.schema import AshaConfig
from study.errors import StudyError
from study.method.checkpoint import read_architecture
from study.method.delta import load_delta
from study.search.driver import (
    InterruptedStudyError,
    _interrupted_by_hanging_up,
    make_scheduler,
)
from study.search.trainable import has_gpu
from study.selection.candidates import finished_trials
from study.serving.classifier import load_classifier
from study.storage.ledger import StudyFolder
from study.trial import TrialConfig

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def searched(make_study: Any) -> Any:
    """A study whose search has run, with successive halving."""
    wild = {"bias_lr": [0.002, 200], "ln_lr": [0.002, 200]}  # some do worse than chance
    search = {"trials": 14, "asha": {"reduction_factor": 4}, "space": wild}
    study = make_study("searched", search=search)
    study.search()
    return study


@pytest.fixture(scope="module")
def confirmed(searched: Any) -> Any:
    """The same study, confirmed."""
    searched.confirm()
    return searched


def test_a_search_runs_its_trials_and_each_arm_its_share(searched: Any) -> None:
    configs = [trial.config for trial in searched.folder.trials()]
    arms = Counter(config["arm"] for config in configs)
    assert arms == {"baseline": 4, "clipfit-tuned": 4, "search": 6}
    assert [c["label"] for c in configs[:4]] == ["zero-shot", "clipfit", "bitfit", "ln"]
    assert [c["number"] for c in configs] == list(range(14))
    in_turn = [c["arm"] for c in configs[4:8]]
    assert set(in_turn) == {"clipfit-tuned", "search"}, "the arms must not wait for each other"


def test_stopped_trials_are_recorded_and_baselines_are_never_stopped(searched: Any) -> None:
    assert statuses(searched.folder).keys() == {"finished", "stopped"}
    for trial in searched.folder.trials():
        end, reports = trial.end, trial.reports
        assert end is not None
        assert [r["epoch"] for r in reports] == list(range(1, end.epochs + 1)) or end.epochs == 0
        assert not (trial.path / "state.safetensors").exists()
        assert end.seconds == pytest.approx(sum(r["seconds"] for r in reports))
        if trial.config["arm"] == "baseline":
            assert end.status == "finished"
        if end.status == "stopped":
            assert end.epochs == 3
            assert end.reason == "successive halving at epoch 3"


def test_every_trained_trial_leaves_its_delta_the_stopped_ones_too(searched: Any) -> None:
    for trial in searched.folder.trials():
        path = trial.path / "delta.safetensors"
        assert path.exists() == bool(trial.config["trainable"])
        if path.exists():
            tensors, info = load_delta(path)
            assert sum(t.numel() for t in tensors.values()) == trial.config["trainable"]
            assert info.subset == trial.config["subset"]


def test_optuna_knows_every_outcome(searched: Any) -> None:
    for arm in ("search", "clipfit-tuned"):
        trials = optuna_trials(searched.folder, arm)
        for folder in searched.folder.trials():
            config, end, reports = folder.config, folder.end, folder.reports
            if config["arm"] != arm:
                continue
            told = trials[config["optuna_number"]]
            finished = end.status == "finished"
            assert told.state is (TrialState.COMPLETE if finished else TrialState.PRUNED)
            assert told.value == reports[-1]["val_score"]
            expected = {r["epoch"]: r["val_score"] for r in reports}
            assert {**told.intermediate_values, end.epochs: told.value} == expected
            assert finished or told.intermediate_values == expected
    assert "clipfit" in [
        t.user_attrs.get("label") for t in optuna_trials(searched.folder, "search")
    ]


def test_no_training_is_done_twice(searched: Any) -> None:
    trainings = [
        (c["subset_key"], c["bias_lr"], c["ln_lr"], c["distill_weight"])
        for c in (trial.config for trial in searched.folder.trials())
    ]
    assert len(set(trainings)) == len(trainings)


def test_observers_hear_of_every_start_epoch_and_end(searched: Any) -> None:
    for trial in searched.folder.trials():
        own = [event for event in searched.heard.events if event[1] == trial.trial_id]
        assert own == [
            ("started", trial.trial_id, None),
            *(("reported", trial.trial_id, r["epoch"]) for r in trial.reports),
            ("ended", trial.trial_id, trial.end.status),
        ]


def test_a_finished_search_is_not_run_again(searched: Any) -> None:
    before = _contents(searched.folder)
    searched.search()
    assert _contents(searched.folder) == before


def test_a_trial_that_only_lacked_its_closing_is_closed_and_observers_hear_of_it(
    searched: Any,
) -> None:
    trial = searched.folder.trial("search-0001")
    end = trial.end
    (trial.path / "end.json").unlink()
    searched.heard.events.clear()
    searched.search()
    assert searched.heard.events == [("ended", "search-0001", "finished")]
    assert trial.end == end


def test_confirmations_alone_know_test_and_after_their_last_epoch(confirmed: Any) -> None:
    candidates = confirmed.folder.read_json("candidates.json")
    trained = [c["label"] for c in candidates if c["same_as"] is None]
    confirmations = [t for t in confirmed.folder.trials() if t.config["stage"] == "confirm"]
    assert sorted(t.trial_id for t in confirmations) == sorted(
        f"confirm-{label}-seed{seed}" for label in trained for seed in (1, 2)
    )
    for trial in confirmed.folder.trials():
        *earlier, last = trial.reports
        assert not any("test" in key for report in earlier for key in report)
        assert ("test_score" in last) == (trial.config["stage"] == "confirm")
        assert (trial.path / "per_class.json").exists() == (trial.config["stage"] == "confirm")
    hashes = {(t.config["seed"], t.config["split_hash"]) for t in confirmations}
    assert len(hashes) == 2


def test_confirming_again_changes_nothing(confirmed: Any) -> None:
    before = _contents(confirmed.folder)
    confirmed.confirm()
    assert _contents(confirmed.folder) == before


def _contents(folder: StudyFolder) -> dict[str, bytes]:
    paths = [*folder.path.glob("trials/*/*"), folder.path / "candidates.json"]
    return {str(path): path.read_bytes() for path in paths if path.exists()}


BROKEN = {
    "zero-shot": {"subset": "none"},
    "clipfit": {"subset": "clipfit", "bias_lr": 0.002, "ln_lr": 0.002, "distill_weight": 8},
    "diverging": {"subset": "ln", "ln_lr": 1e30},
    "raising": {"subset": "vision.ln", "ln_lr": 0.01},
}


UNHEARD: tuple[tuple[str, str, Any], ...] = (
    ("started", "search-0000", None),
    ("reported", "search-0004", 2),
    ("ended", "search-0005", "finished"),
)


@pytest.fixture(scope="module")
def troubled(make_study: Any) -> Any:
    """A study with a baseline that diverges, one that raises, and one whose worker is killed."""
    study = make_study("troubled", search={"asha": None, "baselines": BROKEN, "sampler": "random"})
    blocked = study.folder.trial("search-0003").path / "delta.safetensors"
    blocked.mkdir(parents=True)
    study.heard.at["reported", "search-0001", 2] = kill_worker
    for event in UNHEARD:
        study.heard.at[event] = fail
    study.search()
    return study


def fail() -> None:
    """What an observer without its server does."""
    raise ConnectionError("no server")


def test_a_trial_whose_worker_is_killed_goes_on_from_its_last_epoch(
    troubled: Any, searched: Any
) -> None:
    trial = troubled.folder.trial("search-0001")
    events = [event for event in troubled.heard.events if event[1] == "search-0001"]
    assert [event[0] for event in events].count("started") == 2, "its worker was not killed"
    assert Counter(event[2] for event in events if event[0] == "reported") == {
        1: 1,
        2: 1,
        3: 1,
        4: 1,
    }
    assert [r["epoch"] for r in trial.reports] == [1, 2, 3, 4]
    assert trial.end.status == "finished"
    assert untimed(trial) == untimed(searched.folder.trial("search-0001"))


@pytest.mark.parametrize(
    ("number", "told"),
    [(2, ["Traceback", "NonFiniteLossError", "epoch 1"]), (3, ["Traceback", "IsADirectoryError"])],
)
def test_a_trial_that_diverges_or_raises_is_recorded_with_its_traceback(
    troubled: Any, number: int, told: list[str]
) -> None:
    end = troubled.folder.trial(f"search-{number:04d}").end
    assert end.status == "failed"
    for part in told:
        assert part in end.error


def test_the_study_goes_on_without_what_failed(troubled: Any) -> None:
    assert statuses(troubled.folder) == {"finished": 6, "failed": 2}
    labels = [judged.config.label for judged in finished_trials(troubled.folder)]
    assert "diverging" not in labels
    assert len(labels) == 6


def test_an_observer_at_fault_does_not_end_the_study(troubled: Any) -> None:
    assert not troubled.heard.at.keys() & set(UNHEARD), "nothing was raised"
    for _, trial_id, _ in UNHEARD:
        assert troubled.folder.trial(trial_id).end.status == "finished"


@pytest.mark.long
def test_a_worker_that_dies_too_often_fails_its_trial_alone(make_study: Any) -> None:
    study = make_study(
        "dying",
        search={"asha": None, "sampler": "random"},
        resources={"max_concurrent": 1, "max_failures": 0},
    )
    study.heard.at["reported", "search-0001", 1] = kill_worker
    study.search()
    assert statuses(study.folder) == {"finished": 7, "failed": 1}
    assert study.folder.trial("search-0001").end.reason == "its worker died"


def test_successive_halving_remembers_trials_that_ended_before(searched: Any) -> None:
    ended = [t for t in searched.folder.trials() if t.config["arm"] in ("search", "clipfit-tuned")]
    history = [(TrialConfig.model_validate(t.config), t.reports) for t in ended]

    class Trial:
        trial_id = "new"
        config = {"arm": "search"}  # noqa: RUF012

    for known, expected in ((history, "STOP"), ([], "CONTINUE")):
        scheduler = make_scheduler(AshaConfig(), 4, known)
        scheduler.on_trial_add(None, Trial())
        decision = scheduler.on_trial_result(None, Trial(), {"epoch": 3, "score": 0.0})
        assert decision == expected


def test_the_ledger_is_plain_json(searched: Any) -> None:
    for path in searched.folder.path.glob("trials/*/*.json*"):
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)


def test_ctrl_c_is_nobodys_after_a_stage(searched: Any) -> None:
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)


def test_ctrl_c_between_two_trials_leaves_the_rest_of_a_search_to_be_done(make_study: Any) -> None:
    study = make_study("between", search={"asha": None, "sampler": "random"})
    last = ("ended", "search-0002", "finished")
    study.heard.at[last] = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(InterruptedStudyError, match="go on by --resume between"):
        study.search()
    assert statuses(study.folder) == {"finished": 3}
    study.search()
    assert statuses(study.folder) == {"finished": 8}


def test_a_backbone_named_by_a_relative_folder_is_found_by_workers_and_later_readers(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_backbone.parent)
    relative = Path(tiny_backbone.name)
    study = TinyStudy(tmp_path, "relative", relative, search={"asha": None, "sampler": "random"})
    study.search()
    assert statuses(study.folder) == {"finished": 8}
    monkeypatch.chdir(tmp_path)
    resumed = load_config(study.folder.config_path)
    assert read_architecture(resumed.backbone.name) == study.architecture
    clipfit = study.folder.trial("search-0001").path / "delta.safetensors"
    assert load_classifier(clipfit).backbone.image_size == 16


@pytest.mark.parametrize("damage", ["cut", "changed", "planted"])
def test_a_trial_whose_reports_were_changed_while_nothing_ran_gets_those_it_would_have_had(
    make_study: Any, searched: Any, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(f"tampered-{damage}", search={"asha": None, "sampler": "random"})
    study.heard.at["reported", "search-0001", 2] = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(InterruptedStudyError):
        study.search()
    trial = study.folder.trial("search-0001")
    path = trial.path / "reports.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert trial.end is None
    assert len(lines) in (2, 3)
    changed = [line.replace(b'"val_score": 0.', b'"val_score": 0.9') for line in lines]
    last = json.dumps({**trial.reports[-1], "epoch": 4, "val_score": 0.99}).encode() + b"\n"
    others = {"cut": lines[:1], "changed": changed, "planted": [*lines, last]}
    path.write_bytes(b"".join(others[damage]))
    study.search()
    assert untimed(trial) == untimed(searched.folder.trial("search-0001"))
    assert "search-0001/reports.jsonl" in caplog.text
    assert statuses(study.folder) == {"finished": 8}


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_terminal_that_goes_away_interrupt_as_ctrl_c_does(
    name: signal.Signals, ctrl_c: Any
) -> None:
    before = signal.getsignal(name)
    listening = signal.signal(signal.SIGINT, ctrl_c)  # ignored by what a script starts with &
    try:
        with pytest.raises(KeyboardInterrupt), _interrupted_by_hanging_up():
            signal.raise_signal(name)
    finally:
        signal.signal(signal.SIGINT, listening)
    assert signal.getsignal(name) is before


GARBAGE = """
import gc, threading, time, ray
from study.config.schema import StudyConfig
from study.search.driver import ray_session

shutdown, begun = ray.shutdown, threading.Event()

def begin():
    begun.set()
    shutdown()

def leave_garbage():
    begun.wait()
    while references:
        cycle = [references.pop()]
        cycle.append(cycle)
        time.sleep(0.0001)

ray.shutdown = begin
with ray_session(StudyConfig()):
    references = [ray.put(0) for _ in range(20000)]
    gc.set_threshold(5)
    threading.Thread(target=leave_garbage, daemon=True).start()
left, references[:] = len(references), []
assert 0 < left < 20000, left
assert gc.isenabled()
print("lives")
"""


def test_garbage_of_ray_in_another_thread_does_not_end_the_driver_as_ray_shuts_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE], capture_output=True, text=True, check=False
    )
    assert done.stdout == "lives\n", done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU can be used")
def test_a_gpu_that_pytorch_cannot_use_is_told_and_no_cpu_takes_its_place() -> None:
    with pytest.raises(StudyError, match=r"resources\.gpus_per_trial=0"):
        ray.get(ray.remote(num_gpus=1)(has_gpu).remote())
