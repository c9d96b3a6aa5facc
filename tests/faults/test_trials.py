"""What a trial may meet: it is named, it passes where it can, and no other trial suffers."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
import torch
from optuna.trial import TrialState
from tiny_study import TinyStudy, optuna_trials, statuses

from study.method.delta import load_delta
from study.search import driver
from study.search.trainable import ClipFitTrainable
from study.trial import TrialConfig, task

# Workers cannot import this file, so that what it defines travels to them itself.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

Fault = Callable[[int, int, Path], object]
"""Is called before each epoch with its number from 0, the images of a pass, the trial's folder."""
BATCH, EPOCHS = 8, 4


class Faulty(ClipFitTrainable):
    """The trainable of studies, with faults before the training of some trials' epochs."""

    faults: Mapping[int, Fault]
    """By trial number."""

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        """See `ClipFitTrainable`."""
        from study.trial import task

        train = task.train_packed_epoch

        def train_or_fail(
            *arguments: Any, epoch: int, micro_batch: int | None, **options: Any
        ) -> Any:
            fault = self.faults.get(self._trial.number, lambda *_: None)
            fault(epoch, micro_batch or BATCH, self._folder.path)
            return train(*arguments, epoch=epoch, micro_batch=micro_batch, **options)

        task.train_packed_epoch = train_or_fail
        super().setup(config, **given)


def with_faults(faults: Mapping[int, Fault]) -> type[Faulty]:
    return type("Faulty", (Faulty,), {"faults": faults})


def host_is_full() -> None:
    bytearray(2**62)


def host_is_full_for_torch() -> None:
    torch.empty(2**45)


def device_is_full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")


def two_images_fit(fail: Callable[[], None]) -> Fault:
    """From the second epoch on, so that there is something to go on from."""

    def fault(epoch: int, at_once: int, folder: Path) -> None:
        if epoch >= 1 and at_once > 2:
            fail()

    return fault


def nothing_fits(epoch: int, at_once: int, folder: Path) -> None:
    if epoch >= 1:
        torch.empty(2**45)


def raises(error: Exception) -> Fault:
    def fault(epoch: int, at_once: int, folder: Path) -> None:
        if epoch >= 1:
            raise error

    return fault


class Here:
    """A trial in this process, epoch by epoch, by the trainable that workers run."""

    def __init__(self, study: TinyStudy, trial_id: str, fault: Fault | None) -> None:
        self.study = study
        self.folder = study.folder.trial(trial_id)
        self._given = {
            "folder": study.folder.path,
            "backbone": study.config.backbone,
            "data": {"search/1": study.data},
            "threads": 1,
            "max_epoch_seconds": None,
        }
        self.config = TrialConfig(
            trial_id=trial_id,
            stage="search",
            arm="search",
            label=trial_id,
            number=0,
            seed=1,
            subset="clipfit",
            subset_key="0",
            trainable=1,
            bias_lr=0.05,
            ln_lr=0.02,
            distill_weight=1.0,
            epochs=EPOCHS,
            split_hash="0",
            training=study.config.training,
        )
        self.folder.create(self.config.model_dump(mode="json"))
        self.trainable = object.__new__(with_faults({0: fault} if fault else {}))
        self.trainable.setup(self.config.model_dump(mode="json"), **self._given)

    def run(self) -> dict[str, Any]:
        """Run it to its end; give the last result."""
        while not (result := self.trainable.step())["done"]:
            pass
        return result

    def numbers(self) -> list[dict[str, float]]:
        """What its epochs reported, less what a clock told."""
        timed = ("seconds", "ended_at", "images_per_second")
        return [{k: v for k, v in r.items() if k not in timed} for r in self.folder.reports]


@pytest.fixture
def here(
    make_study: Callable[..., TinyStudy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Here]:
    """Make a trial of a name, with a fault."""
    monkeypatch.setattr(task, "train_packed_epoch", task.train_packed_epoch)
    study = make_study(tmp_path.name)
    return lambda name, fault=None: Here(study, name, fault)


@pytest.mark.parametrize("full", [host_is_full, host_is_full_for_torch, device_is_full])
def test_a_trial_out_of_memory_goes_on_with_fewer_images_at_a_time(
    here: Callable[..., Here], full: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    whole = here("whole")
    whole.run()
    short = here("short", two_images_fit(full))
    assert not short.run()["failed"]
    numbers = short.numbers()
    assert [report["epoch"] for report in numbers] == [1, 2, 3, 4]
    assert [report.pop("micro_batch", None) for report in numbers] == [None, 2, 2, 2]
    for report, expected in zip(numbers, whole.numbers(), strict=True):
        assert report == pytest.approx(expected, rel=1e-3, abs=1e-5)
    deltas = [load_delta(trial.folder.path / "delta.safetensors")[0] for trial in (short, whole)]
    for name, tensor in deltas[0].items():
        torch.testing.assert_close(tensor, deltas[1][name], atol=1e-5, rtol=1e-3)
    assert "its epoch begins again with 4" in caplog.text
    assert "its epoch begins again with 2" in caplog.text


def test_the_next_trial_of_a_process_has_whole_batches_again(here: Callable[..., Here]) -> None:
    trial = here("short", two_images_fit(device_is_full))
    trial.run()
    following = trial.config.model_copy(update={"trial_id": "next", "number": 1})
    folder = trial.study.folder.trial("next")
    folder.create(following.model_dump(mode="json"))
    assert trial.trainable.reset_config(following.model_dump(mode="json"))
    trial.run()
    assert [report["epoch"] for report in folder.reports] == [1, 2, 3, 4]
    assert not any("micro_batch" in report for report in folder.reports)


@pytest.mark.parametrize(
    ("fault", "reason", "unfit"),
    [
        (
            nothing_fits,
            "out of memory with one image at a time (RuntimeError: [enforce fail at",
            True,
        ),
        (raises(ValueError("no\nsuch thing")), "ValueError: no such thing", True),
        (raises(AssertionError()), "AssertionError", True),
        (raises(RuntimeError("x" * 999)), f"RuntimeError: {'x' * 150}", True),
        (raises(OSError(5, "Input/output error")), "OSError: [Errno 5] Input/output error", False),
    ],
)
def test_a_trial_that_fails_names_its_cause_in_one_line(
    here: Callable[..., Here], fault: Fault, reason: str, unfit: bool
) -> None:
    trial = here("failing", fault)
    result = trial.run()
    assert result["failed"]
    assert result["reason"].startswith(reason)
    assert len(result["reason"]) < 250
    assert "\n" not in result["reason"]
    assert result["unfit"] == unfit
    assert "Traceback" in result["error"]
    assert [report["epoch"] for report in trial.folder.reports] == [1]
