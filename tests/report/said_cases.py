"""Studies, and all sentences that are told of them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from study.report.ending import findings
from study.report.formatting import markdown_text
from study.report.leaderboard_tables import footnote
from study.report.study_description import describe_study
from study.report.verdict import headline, validation_findings, verdict
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import REGISTERED, Registration, StudyFolder
from tests.changed_studies import (
    change_json,
    choose,
    configure,
    forget_images,
    leave_one_seed,
    share_images,
    shots_of,
    write_split,
)
from tests.fake_studies import add_answer, add_candidate, edit_candidates, set_images

SAID = yaml.safe_load(Path(__file__).with_name("said.yaml").read_text())
"""How studies are changed, by what they show then."""


def prepare(folder: Path, case: JsonObject) -> Path:
    """Change a finished study as a case has it."""
    configure(folder, *case.get("overrides", ()))
    for candidate in case.get("candidates", ()):
        add_candidate(folder, **candidate)
    if "answer" in case:
        add_answer(folder, **case["answer"])
    for label in case.get("untested", ()):
        for trial in folder.glob(f"trials/test-{label}-seed*"):
            shutil.rmtree(trial)
    if not case.get("searched", True):
        for trial in folder.glob("trials/search-*"):
            shutil.rmtree(trial)
        edit_candidates(folder, lambda candidates: candidates.clear())
    if "chosen" in case:
        edit_candidates(folder, lambda candidates: choose(candidates, case["chosen"]))
    if case.get("apart"):
        edit_candidates(folder, set_apart)
    if "search_seed" in case:
        for path in folder.glob("trials/search-*/config.json"):
            path.write_text(path.read_text().replace('"seed": 1', f'"seed": {case["search_seed"]}'))
    if "shared" in case:
        share_images(folder, case["shared"])
    if "guessing" in case:
        set_images(folder, *case["guessing"], naming_the_largest=True)
    if case.get("forgotten"):
        forget_images(folder)
    if "seeds" in case:
        leave_one_seed(folder)
    if "final" in case:
        add_final(folder, case["final"])
    write_notes(StudyFolder(folder), case)
    return folder


def add_final(folder: Path, images: str):
    """Add the final training on other images."""
    configure(folder, f"final.images={images}")
    candidates = json.loads((folder / "candidates.json").read_text())
    best = next(candidate for candidate in candidates if candidate["label"] == "best")
    number = best["source_trial"].removeprefix("search-")
    trial = folder / f"trials/final-{images}-{number}"
    shutil.copytree(folder / "trials/test-best-seed1", trial)
    change_json(trial / "config.json", stage="final", split_hash="00ff")
    write_split(folder, "00ff", *shots_of(*map(str, range(60))))


def set_apart(candidates: list[JsonObject]):
    """Let no two candidates be near each other by validation."""
    for number, candidate in enumerate(candidates):
        is_chosen = candidate["label"] == "best"
        candidate["val_score"] = 0.9 if is_chosen else 0.1 * number


def write_notes(folder: StudyFolder, case: JsonObject):
    """Write what a study keeps beside the records of its trials."""
    for trial in case.get("deltas", ()):
        folder.trial(trial).write("delta.safetensors", b"")
    if "version" in case:
        registration = Registration(
            "clipfit-glyphs", case["version"], True, "there was no champion before"
        )
        folder.write_json(REGISTERED, registration)
    if "extended" in case:
        folder.write_json("extensions.json", case["extended"])


def sentences_on(folder: Path) -> Iterator[str]:
    """Yield all that is told of a study in sentences, under headings."""
    board = leaderboard(read_results(folder))
    yield "# Headline"
    yield from headline(board) or ()
    sentences = verdict(board)
    yield "# Verdict"
    yield from sentences
    yield "# Validation"
    yield from validation_findings(board)
    yield "# Note"
    yield footnote(board)
    yield "# Description before the verdict and the tables"
    yield describe_study(board).partition(markdown_text(sentences[0]))[0]
    yield "# The last lines of the run"
    for word, text in findings(board):
        yield f"{word}: {text}"
