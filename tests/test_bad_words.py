"""What is wrong in a configuration, an override, a command or its words is one clear message.

Its exit code is 2, and nothing is left behind. What can be meant is accepted.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands import main
from tests.messages import Ran, assert_accepted, assert_refused, carry_out, load_checkpoints_once

Told = Callable[[str], Ran]
FILES: dict[str, bytes] = {
    "empty.yaml": b"",
    "comment.yaml": b"# nothing yet\n",
    "unk.yaml": b"lr: 0.1\n",
    "bom.yaml": "\ufeffseed: 1\n".encode(),
    "utf16.yaml": "seed: 1\n".encode("utf-16"),
    "anchor.yaml": b"a: &x {shots: 4}\nb: *x\n",
    "bool.yaml": b"data: {shots: yes}\n",
    "env.yaml": b"data: {root: '${HOME}/images'}\n",
    "octal.yaml": b"data: {shots: 016}\n",
    "dot.yaml": b"search.trials: 9\n",
    "dots.yaml": b"search.trials: 9\nsearch: {trials: 10}\n",
    "inner.yaml": b"search: {asha.grace_period: 4}\n",
    "date.yaml": b"name: 2024-01-01\n",
    "null.yaml": b"search: null\n",
    "conf.json": json.dumps({"seed": 1, "data": {"shots": 4}}).encode(),
    "conf.toml": b"[data]\nshots = 4\n",
    "folder/unknown.yaml": b"b: 1\n",
    "images/0.jpg": b"\xff\xd8\xff\xe0 no configuration",
    "photos/cat/0.jpg": b"\xff\xd8\xff\xe0 no image",
}
"""Files that are made in the working folder."""

CASES = yaml.safe_load(Path(__file__).with_name("bad_words.yaml").read_text(encoding="utf-8"))
CONFIGURATIONS: dict[str, Any] = CASES["configurations"]
OVERRIDES: dict[str, Any] = CASES["overrides"]
COMMANDS = {
    "init": "no configuration 'init'",
    "continue": "did you mean `clipfit-study resume NAME`?",
    "continue mine": "did you mean `clipfit-study resume NAME`?",
    "run --resume mine": "did you mean `clipfit-study resume NAME`?",
    "run --extend mine search.trials=9": "did you mean `clipfit-study extend NAME`?",
    "list x": "'x' is not of the form storage=FOLDER",
    "list storage=/nosuch": "storage=/nosuch is no folder",
    "delete nosuch --yes": "no study 'nosuch' in runs; there are none",
    "delete . --yes": "no study '.' in runs",
    "delete photos --yes": "no study 'photos' in runs",
    "predict nosuch photos": "no study 'nosuch' in runs; there are none",
    "predict nosuch /": "no study 'nosuch' in runs; there are none",
    "export nosuch --format hf --out x": "no study 'nosuch' in runs; there are none",
    "export photos/cat/0.jpg --format tf --out x": "--format is 'tf'; allowed are hf, peft,",
    "sync nosuch": "no study 'nosuch' in runs; there are none",
    "report nosuch": "no study 'nosuch' in runs; there are none",
    "predict models:/nosuch/1 photos": "models:/nosuch/1 is not found",
}
ACCEPTED = [
    *("empty.yaml", "comment.yaml", "bom.yaml", "dot.yaml", "conf.json"),
    *("quickstart search.trials=0", "quickstart data.shots=16.0", "quickstart 'data.shots=\"16\"'"),
    *("quickstart name=", "quickstart storage=~/nope"),
]
"""What can be meant; the home folder of the test is made for it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with the files."""
    place = tmp_path_factory.mktemp("place")
    for name, contents in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(contents)
    with pytest.MonkeyPatch.context() as patch:
        load_checkpoints_once(patch)
        yield place


@pytest.fixture
def told(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Told:
    """Carry out a command line; give its exit code and what it printed. Nothing is left behind."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE", "STUDY_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    return lambda line: carry_out(main, shlex.split(line), place, capfd)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        *((f"{file} --check", part) for file, part in CONFIGURATIONS.items()),
        *((f"quickstart {words} --check", part) for words, part in OVERRIDES.items()),
        *COMMANDS.items(),
    ],
)
def test_what_cannot_be_meant_is_one_clear_message(told: Told, line: str, part: str) -> None:
    assert_refused(told(line), part)


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_can_be_meant_is_accepted(told: Told, line: str) -> None:
    ran = told(f"{line} --check")
    assert_accepted(ran)
    assert "all is well" in ran.out
