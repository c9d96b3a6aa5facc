"""What is wrong in a configuration, an override, a command or its words is one clear message.

Its exit code is 2, and nothing is left behind. What can be meant is accepted.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from study.commands import main
from study.method.backbone import load_backbone

Told = Callable[..., tuple[int, str, str]]
FILES: dict[str, bytes] = {
    "empty.yaml": b"",
    "comment.yaml": b"# nothing yet\n",
    "tabs.yaml": b"data:\n\tshots: 4\n",
    "list.yaml": b"[a, b]\n",
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

CONFIGURATIONS = {
    "configs/nosuch.yaml": "no configuration 'configs/nosuch.yaml'",
    "tabs.yaml": "configuration tabs.yaml is not valid YAML",
    "list.yaml": "must be a mapping of sections, got ['a', 'b']",
    "unk.yaml": "lr: unknown key; allowed are name, seed, protocol",
    "utf16.yaml": "is not text in UTF-8, as it has the byte 0xff",
    "anchor.yaml": "b: unknown key; allowed are",
    "bool.yaml": "data.shots: must be a number, which true and false (yes and no) are not",
    "env.yaml": "data.root: has ${HOME}, and variables of the environment are not replaced",
    "octal.yaml": "configuration octal.yaml is not clear: 016 in line 1 is 14 to YAML",
    "dots.yaml": "configuration dots.yaml sets 'search.trials' twice",
    "inner.yaml": "search.asha.grace_period: unknown key; keys with dots belong at the top",
    "date.yaml": "name: must be text",
    "null.yaml": "search: must be a section with keys of its own, got None",
    "conf.toml": "configuration conf.toml is not valid YAML",
    "folder": "b: unknown key",
    "images/0.jpg": "is not text in UTF-8, as it has the byte 0xff",
}
OVERRIDES = {
    "search.trials=0x10": "0x10 in line 1 is 16 to YAML; allowed are decimal numbers",
    "search.trials=010": "010 in line 1 is 8 to YAML; allowed are decimal numbers",
    "search.trials=08": "search.trials: must be a number without leading zeros, got '08'",
    "search.minutes=1:30": "1:30 in line 1 is 90 to YAML",
    "search.minutes=0": "search.minutes: must be above 0, got 0",
    "search.minutes=-1": "search.minutes: must be above 0, got -1",
    "search.minutes=5m": "search.minutes: must be a number, got '5m'",
    "search.asha.grace_period=50 training.epochs=10": "search.asha.grace_period: 50 is longer than",
    "search.folds=100": "100 folds over",
    "search.folds=1": "search.folds: must be at least 2, got 1",
    "training.weight_decay=-1": "training.weight_decay: must be at least 0, got -1",
    "confirm.seeds=[]": "confirm.seeds: must have at least 2 entries",
    "confirm.runners_up=-1": "confirm.runners_up: must be at least 0, got -1",
    "resources.cpus_per_trial=0": "resources.cpus_per_trial: must be above 0, got 0",
    "data.val_shots=0": "data.val_shots: must be at least 1, got 0",
    "data.augment=ja": "data.augment: must be true or false, got 'ja'",
    "data.pixel_range=[1,0]": "data.pixel_range: the first number must be below the second",
    "'data.splits={train: a}'": "data: dataset 'digits' does not read splits",
    "'data.columns={foo: a}'": "data.columns.foo: must be 'path', 'label', 'class_name', 'split'",
    "data.subset=x": "data: dataset 'digits' does not read subset",
    "data.shots_from=/nosuch": "data.shots_from: /nosuch is no folder",
    "data.targets=[digits]": "data.targets: ",
    "search.space.sites=[]": "search.space: sites is empty",
    "'search.space.sites=[text.ln1, text.ln1]'": "search.space: sites names one site twice",
    "'search.space.rates={foo: [0.1,0.2]}'": "'foo' is no kind of parameter; allowed are bias, ln",
    "'search.baselines={}'": "search.baselines: is empty; allowed is one or more",
    "search.warm_start=nosuch": "search.warm_start: no study 'nosuch' with a search in runs",
    "'ablation={}'": "ablation.design: is missing, and has no default",
    "search=null": "search: must be a section with keys of its own, got None",
    "name=a:b": "name: must be 1 to 100 letters, digits, dots, hyphens and underscores",
    f"name={'n' * 101}": "name: must be 1 to 100 letters, digits, dots, hyphens",
    "name=.": "name: must be 1 to 100 letters",
    "name=-x": "name: must be 1 to 100 letters",
    "'name=${USER}'": "name: has ${USER}, and variables of the environment are not replaced",
    "tracking.uri=http://127.0.0.1:1/": "http://127.0.0.1:1/ does not answer (Connection refused)",
    "tracking.uri=https://127.0.0.1:5": "https://127.0.0.1:5 does not answer (Connection refused)",
    "tracking.uri=sqlite://x.db": "tracking: sqlite://x.db has two slashes, and three stand before",
    "tracking.uri=databricks": "store databricks does not answer",
    "storage=/dev/full": "storage: /dev/full cannot be written",
    "storage=s3://bucket/x": "storage: s3:/bucket/x is no folder",
    "storage='~nobody-at-all/x'": "storage: begins with '~nobody-at-all'",
    "'storage=$HOME/x'": "storage: has $HOME, and variables of the environment are not replaced",
    "protocol=zero-shot": "protocol: 'zero-shot' is unknown (did you mean 'zero_shot'?)",
    "sweep.seed=[1,2]": "sweep: unknown key; did you mean 'seed'?",
    "data.shot=3": "data.shot: unknown key; did you mean 'shots'?",
    "shots=3": "shots: unknown key; allowed are name",
    "lr=0.1": "lr: unknown key; allowed are name",
    "--trials 5": "unrecognized arguments: --trials 5",
    "--set search.trials=5": "unrecognized arguments: --set search.trials=5",
    "-v": "unrecognized arguments: -v",
    "search.trials==5": "search.trials: must be a whole number, got '=5'",
    "search.trials=5,": "search.trials: must be a whole number, got '5,'",
    "search.asha=null search.trials=5": "search.trials: 5 leaves too few beside the",
    "data.templates=[]": "data.templates: must have at least 1 entry",
}
COMMANDS = {
    "runn": "did you mean `clipfit-study run`?",
    "stat": "did you mean `clipfit-study status`?",
    "rum": "did you mean `clipfit-study run`?",
    "Run": "did you mean `clipfit-study run`?",
    "version": "did you mean `clipfit-study --version`?",
    "init": "no configuration 'init'",
    "resume": "did you mean `clipfit-study run --resume NAME`?",
    "resume mine": "did you mean `clipfit-study run --resume NAME`?",
    "studies": "did you mean `clipfit-study list`?",
    "show mine --json": "did you mean `clipfit-study status NAME`?",
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
    "merge a b c": "did you mean `clipfit-study export NAME --format hf",
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
        # Each check loads the checkpoint, which takes most of its time.
        patch.setattr("study.workflow.check.load_backbone", cache(load_backbone))
        yield place


@pytest.fixture
def told(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Told:
    """Carry out a command line; give its exit code and what it printed. Nothing is left behind."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE", "STUDY_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def told(line: str) -> tuple[int, str, str]:
        before = set(place.rglob("*"))
        try:
            code = main(shlex.split(line))
        except SystemExit as end:  # of argparse
            code = int(str(end.code))
        said = capfd.readouterr()
        assert set(place.rglob("*")) == before, "something was left behind"
        return code, said.out, said.err

    return told


@pytest.mark.parametrize(
    ("line", "part"),
    [
        *((f"{file} --check", part) for file, part in CONFIGURATIONS.items()),
        *((f"quickstart {words} --check", part) for words, part in OVERRIDES.items()),
        *COMMANDS.items(),
    ],
)
def test_what_cannot_be_meant_is_one_clear_message(told: Told, line: str, part: str) -> None:
    code, _, message = told(line)
    assert code == 2
    assert part in message
    assert len(re.findall(r"^(?:clipfit-study \w+: )?error: ", message, re.MULTILINE)) == 1
    assert "Traceback" not in message
    assert len(message) < 3000


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_can_be_meant_is_accepted(told: Told, line: str) -> None:
    code, said, message = told(f"{line} --check")
    assert (code, message) == (0, "")
    assert "all is well" in said
