"""Faults drawn at random, hundreds of them: is a result ever lost, doubled or mixed?

    python tests/benchmarks/campaign.py --draws 200 --seed 1     # goes on where it was stopped
    python tests/benchmarks/campaign.py --only 17 --seed 1       # one draw again

A draw is a kind of study, a moment and a fault. The fault meets the study while it runs. Then the
study goes on, by `resume` as often as it takes and by `sync`, and what a message asks to be put
back is put back. In the end it must be what its twin is, a study of the same kind that nothing
happened to: the same trials with the same ends, epochs and bytes, and in MLflow one ended run each
with the same artifacts. Trials run one at a time and none is stopped early, so twins are alike.
It needs to be root on Linux, for the disks that it takes away.

What was drawn is kept in a file as it ends. The exit code is 1 if any draw failed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "faults")]

from campaign_faults import FAULTS, Fault  # noqa: E402
from campaign_study import KINDS, Place, Told, differences  # noqa: E402
from drivers_client import Drivers  # noqa: E402
from paired import machine, table  # noqa: E402

from study.errors import INTERRUPTED  # noqa: E402

STORAGE = Path("runs/campaign")
MENDABLE = 2
"""The exit status after a fault that a user can mend, as a full disk is."""
MOST_RESUMES = 4
"""How often a study is resumed at most, which a fault may need more than once."""


@dataclass(frozen=True)
class Draw:
    """What is done to a study, and when."""

    number: int
    kind: str
    fault: str
    moment: float
    """The part of its trials that has ended when the fault comes, from 0 to 1."""
    later: float
    """Seconds after that."""

    @classmethod
    def of(cls, number: int, seed: int) -> tuple[Draw, random.Random]:
        """Draw; the same whenever it is asked for. The rest of chance is the fault's."""
        chance = random.Random(f"{seed}/{number}")
        kind, fault = chance.choice([*KINDS]), chance.choice([*FAULTS])
        return cls(number, kind, fault, chance.random(), chance.uniform(0, 2)), chance


def main() -> int:
    """Draw, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="DRAW", help="do this one, again if need be")
    parser.add_argument("--storage", type=Path, default=STORAGE)
    options = parser.parse_args()
    storage = options.storage.resolve() / f"seed-{options.seed}"
    storage.mkdir(parents=True, exist_ok=True)
    print(f"`{' '.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that disks and servers go as well
    numbers = range(options.draws) if options.only is None else [options.only]
    done = {line["number"]: line for line in _lines(storage / "draws.jsonl")}
    with closing(Drivers()) as drivers:
        twins = Twins(storage, drivers)
        for number in numbers:
            if number in done and options.only is None:
                continue
            done[number] = run(*Draw.of(number, options.seed), storage, twins)
            with (storage / "draws.jsonl").open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(done[number])}\n")
            if done[number]["wrong"]:
                print(
                    f"draw {number} failed: {done[number]}\nagain: python "
                    f"tests/benchmarks/campaign.py --only {number} --seed {options.seed}",
                    flush=True,
                )
    lines = [done[number] for number in numbers]
    print(summary(lines))
    return 1 if any(line["wrong"] for line in lines) else 0


class Twins:
    """The studies that nothing happened to, one a kind, made when they are first asked for."""

    def __init__(self, storage: Path, drivers: Drivers) -> None:
        self._storage, self.drivers = storage, drivers
        self._told: dict[str, Told] = {}

    def of(self, kind: str) -> Told:
        """What the twin of a kind is."""
        if kind not in self._told:
            path = self._storage / f"twin-{kind}"
            if not (path / "whole").exists():
                with Place(path, kind, self.drivers) as place:
                    status, output = place.run(*place.begin)
                    if status:
                        raise RuntimeError(f"the twin of {kind} failed:\n{output}")
                    place.told().write(path / "whole")
            self._told[kind] = Told.read(path / "whole")
        return self._told[kind]


def run(draw: Draw, chance: random.Random, storage: Path, twins: Twins) -> dict[str, object]:
    """Let a fault meet a study, let it go on, and return what was drawn and what is wrong."""
    began, path = time.monotonic(), storage / f"draw-{draw.number}"
    fault: Fault = FAULTS[draw.fault](chance)
    twin, wrong, resumes, said = twins.of(draw.kind), list[str](), 0, ""
    try:
        with Place(path, draw.kind, twins.drivers) as place:
            wanted = round(draw.moment * len(twin.trials))
            status, output = place.run(
                *place.begin,
                meanwhile=lambda: place.when(wanted, draw.later, lambda: fault.meet(place)),
                wait=fault.wait,
            )
            fault.end(place)
            wrong += unsaid(status, output, begun=place.folder.config_path.exists())
            while status and resumes < MOST_RESUMES:
                resumes += 1
                said = said or f"exit status {status}: {output[-500:].strip()}"
                place.put_back(output)
                status, output = place.run(*place.again)
            if status:
                wrong += [f"it does not go on: {output[-2000:]}"]
            else:
                synced, output = place.run("sync", "mine")
                wrong += [] if synced == 0 else [f"sync: {output[-2000:]}"]
                wrong += differences(place.told(), twin)
            if wrong:  # before its disk goes
                shutil.copytree(place.folder.path, path / "wrong")
    except Exception:
        wrong = [traceback.format_exc()]
    if not wrong:
        shutil.rmtree(path, ignore_errors=True)
    return {
        **asdict(draw),
        "did": fault.did,
        "resumes": resumes,
        "said": said,
        "seconds": round(time.monotonic() - began),
        "wrong": wrong,
    }


def unsaid(status: int, output: str, *, begun: bool) -> list[str]:
    """Return what is wrong with how a study ended that a fault met, unless it was killed itself.

    Args:
        status: its exit status.
        output: what it printed.
        begun: whether there is a study to go on with.
    """
    if status in (0, -signal.SIGKILL):
        return []
    if status not in (MENDABLE, INTERRUPTED):
        return [f"it ended with {status}: {output[-2000:]}"]
    if begun and "resume mine" not in output:
        return [f"no word of how to go on: {output[-2000:]}"]
    return []


def summary(lines: Sequence[Mapping[str, object]]) -> str:
    """Return a table with a row a fault: draws, those that were resumed, and those that failed."""
    by_fault: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for line in lines:
        by_fault[str(line["fault"])].append(line)
    rows = [
        [
            name,
            f"{len(found)}",
            f"{sum(bool(line['resumes']) for line in found)}",
            f"{sum(bool(line['wrong']) for line in found)}",
        ]
        for name, found in sorted(by_fault.items())
    ]
    failed = sum(bool(line["wrong"]) for line in lines)
    # The exact upper 95 % limit of a rate of which nothing was seen in n draws is about 3 / n.
    bound = f"; at most {100 * (1 - 0.05 ** (1 / len(lines))):.1f} % (95 %)" if not failed else ""
    return table(
        f"{len(lines)} draws, {failed} failed{bound}",
        ["fault", "draws", "resumed", "failed"],
        rows,
    )


def _lines(path: Path) -> Iterator[dict[str, object]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
