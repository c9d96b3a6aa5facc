"""Faults drawn at random, hundreds of them: is a result ever lost, doubled or mixed?

    python tests/benchmarks/reliability/campaign.py --draws 200 --seed 1     # goes on where it was
    python tests/benchmarks/reliability/campaign.py --only 17 --seed 1       # draws again

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
import fnmatch
import json
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from study.errors import INTERRUPTED
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.reliability.campaign_faults import FAULTS, UnavailableError
from tests.benchmarks.reliability.campaign_study import KINDS, Place, differences
from tests.faults.drivers_client import Drivers

USER_ERROR = 2
"""The exit status after a fault that a user can repair, as a full disk is."""
UNAVAILABLE = "this machine cannot make it"
MOST = 10
"""How many differences are reported."""
HANGS_AFTER = 7200
"""Seconds after which a draw is taken to hang, on a busy machine."""
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
    wait: float | None
    """How long the study waits for storage, in seconds; None leaves that as it is."""


def draw_fault(number: int, seed: int) -> tuple[Draw, random.Random]:
    """Draw; the same whenever it is asked for. The rest of chance is the fault's."""
    chance = random.Random(f"{seed}/{number}")
    kind, fault = chance.choice([*KINDS]), chance.choice([*FAULTS])
    wait = None
    if fault.endswith("for good"):
        wait = chance.choice([5.0, 5.0, 5.0, None])
    return Draw(number, kind, fault, chance.random(), chance.uniform(0, 2), wait), chance


def main() -> int:
    """Draw, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", metavar="DRAW", help="draw these again")
    parser.add_argument("--storage", type=Path, default=Path("runs/campaign"))
    options = parser.parse_args()
    storage = options.storage.resolve() / f"seed-{options.seed}"
    storage.mkdir(parents=True, exist_ok=True)
    print(f"`{' '.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that disks and servers go as well
    signal.signal(signal.SIGALRM, hang)
    done = {}
    kept = storage / "draws.jsonl"
    if kept.exists() and options.only is None:
        done = {line["number"]: line for line in map(json.loads, kept.read_text().splitlines())}
    numbers = range(options.draws) if options.only is None else options.only
    with closing(Drivers()) as drivers:
        for number in numbers:
            if number in done:
                continue
            done[number] = run(*draw_fault(number, options.seed), storage, drivers)
            with kept.open("a") as file:
                print(json.dumps(done[number]), file=file)
            if done[number]["wrong"]:
                print(f"draw {number} of seed {options.seed} failed: {done[number]}", flush=True)
    lines = [done[number] for number in numbers]
    print(summary(lines))
    return 1 if any(line["wrong"] for line in lines) else 0


def hang(*_: object) -> NoReturn:
    """End a draw in which something waits for ever."""
    raise TimeoutError(f"it hung for {HANGS_AFTER} s")


def twin_of(kind: str, storage: Path, drivers: Drivers) -> Any:
    """Return what a study of a kind is that nothing happened to; it runs when first asked for."""
    path = storage / f"twin-{kind}"
    base = KINDS[kind].get("base")
    if base:
        twin_of(base, storage, drivers)
    kept = path / "contents.json"
    if not kept.exists():
        with Place(path, kind, drivers) as place:
            if place.run(*place.begin)[0]:  # as where a machine is too busy to start Ray
                place.run(*place.again)
            status, output = place.run("sync", "mine")
            if status or not place.folder.is_complete():
                raise RuntimeError(f"the twin of {kind} failed:\n{output}")
            contents = place.contents()
            shutil.copytree(place.folder.path, path / "finished")
        kept.write_text(json.dumps(contents))
    return json.loads(kept.read_text())


def run(draw: Draw, chance: random.Random, storage: Path, drivers: Drivers) -> dict[str, Any]:
    """Let a fault meet a study, let it go on, and return what was drawn and what is wrong."""
    began, path = time.monotonic(), storage / f"draw-{draw.number}"
    twin = twin_of(draw.kind, storage, drivers)
    did, wrong, resumes = ["nothing"], list[str](), 0
    signal.alarm(HANGS_AFTER)
    try:
        with Place(path, draw.kind, drivers) as place:
            fault = FAULTS[draw.fault](place, chance)
            trials = fnmatch.filter(twin["trials"], place.trials)
            wanted = round(draw.moment * len(trials))

            def meet() -> None:
                place.wait_until(wanted, draw.later)
                did.append(next(fault))

            status, output = place.run(*place.begin, meanwhile=meet, wait=draw.wait)
            did += fault
            wrong += wrong_end(status, output, begun=place.begun)
            while (status or not place.begun) and resumes < MOST_RESUMES:
                resumes += 1
                place.put_back(output)
                status, output = place.run(*place.again)
                if status not in (0, USER_ERROR, INTERRUPTED):
                    wrong.append(f"a resume ended with {status}: {output[-2000:]}")
            if not status:
                status, output = place.run("sync", "mine")
            if status:
                wrong.append(f"it does not go on: {output[-2000:]}")
            else:
                wrong += [*differences(place.contents(), twin)][:MOST]
            if (place.path / "other").exists():
                base = twin_of(place.base or draw.kind, storage, drivers)
                wrong += [*differences(place.contents("other"), base)][:MOST]
            if wrong:  # before its disk goes
                shutil.copytree(place.folder.path, path / "wrong")
    except UnavailableError as reason:
        did.append(f"{UNAVAILABLE}: {reason}")
    except Exception:
        wrong = [traceback.format_exc()]
    signal.alarm(0)
    if not wrong:
        shutil.rmtree(path, ignore_errors=True)
    seconds = round(time.monotonic() - began)
    line = {"did": did[-1], "resumes": resumes, "seconds": seconds, "wrong": wrong}
    return {**asdict(draw), **line}


def wrong_end(status: int, output: str, *, begun: bool) -> list[str]:
    """Return what is wrong with how a study ended that a fault met, unless it was killed itself.

    Args:
        status: its exit status.
        output: what it printed.
        begun: whether there is a study to go on with.
    """
    if status in (0, -signal.SIGKILL):
        return []
    if status not in (USER_ERROR, INTERRUPTED):
        return [f"it ended with {status}: {output[-2000:]}"]
    # A command that finds the fault before it starts is the one to repeat.
    if begun and not re.search(r"resume (\S*/)?mine|run the command again", output):
        return [f"no word of how to go on: {output[-2000:]}"]
    return []


def summary(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a row a fault: draws, those that were resumed, and those that failed."""
    draws = pd.DataFrame(lines)
    draws["draws"] = 1
    draws["resumed"] = draws["resumes"] > 0
    draws["failed"] = draws["wrong"].map(bool)
    draws["unavailable"] = draws["did"].str.startswith(UNAVAILABLE)
    columns = ["draws", "resumed", "failed", "unavailable"]
    counts = draws.groupby("fault", sort=False)[columns].sum()
    failed, made = counts["failed"].sum(), len(lines) - counts["unavailable"].sum()
    title = f"{made} faults met studies, {failed} failed"
    if made and not failed:
        # The exact upper 95 % limit of a rate of which nothing was seen in n draws, about 3 / n.
        title += f"; at most {100 * (1 - 0.05 ** (1 / made)):.1f} % (95 %)"
    rows = counts.reset_index().astype(str).to_numpy().tolist()
    return table(title, ["fault", *counts], rows)


if __name__ == "__main__":
    sys.exit(main())
