"""Studies, and what the report says of them."""

from pathlib import Path
from typing import Any

import yaml

from study.storage.study_folder import REGISTERED, Registration, StudyFolder
from tests.changed_studies import choose, configure, forget_images
from tests.fake_studies import add_answer, add_candidate, edit_candidates

SAID = yaml.safe_load(Path(__file__).with_name("said.yaml").read_text(encoding="utf-8"))
"""Studies, and what is said of them."""


def prepare(folder: Path, case: dict[str, Any]) -> Path:
    """Change a finished study as a case of `SAID` has it."""
    configure(folder, *case.get("overrides", ()))
    for candidate in case.get("candidates", ()):
        add_candidate(folder, **candidate)
    if "answer" in case:
        add_answer(folder, **case["answer"])
    for trial in case.get("deltas", ()):
        (folder / "trials" / trial / "delta.safetensors").write_bytes(b"")
    if "chosen" in case:
        edit_candidates(folder, lambda candidates: choose(candidates, case["chosen"]))
    if "version" in case:
        registration = Registration("clipfit-glyphs", case["version"], True, "it is the first")
        StudyFolder(folder).write_json(REGISTERED, registration)
    if case.get("forgotten"):
        forget_images(folder)
    return folder


def assert_said(text: str, case: dict[str, Any]) -> None:
    """What is said has the parts that a case of `SAID` wants, and none that it lacks."""
    for part in case.get("has", ()):
        assert part in text
    for part in case.get("lacks", ()):
        assert part not in text
