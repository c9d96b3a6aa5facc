"""Bad inputs of many kinds through the command line: one message in plain words, and nothing else.

A message has exit code 2 and leaves nothing behind. What may be meant is accepted with a warning,
and what is right without one.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.config.loading import build_config, dump_config
from study.run import main
from study.storage.study_folder import StudyFolder
from tests.listening import listening
from tests.messages import (
    Ran,
    assert_accepted,
    assert_refused,
    carry_out,
    load_checkpoints_once,
)

pytest.importorskip("datasets")


FOREIGN = re.compile(
    r"Traceback|codec|Errno|Exception|\w+Error\b|Max retries|NoneType|<class|Input should"
    r"|valid (tuple|dict|integer|string|number|list)|should match|Field required|Repo id"
)
"""What the sentences of libraries have, and plain words have not."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with all bad inputs in ``bad``, and a study in ``runs``."""
    from tests.bad_inputs import make_bad_inputs

    place = tmp_path_factory.mktemp("place")
    (place / "bad").mkdir()
    make_bad_inputs(place / "bad")
    config = build_config({"name": "mine", "search": {"trials": 12}}, "here")
    folder = StudyFolder(place / "runs" / "mine")
    folder.create(dump_config(config), {})
    (folder.path / ".lock").touch()
    with pytest.MonkeyPatch.context() as patch:
        load_checkpoints_once(patch)
        yield place


@pytest.fixture(autouse=True)
def _here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


Run = Callable[..., Ran]


@pytest.fixture
def run(place: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; give its exit code, and what it printed. Nothing may be left behind."""
    return lambda *words: carry_out(main, words, place, capfd)


def refused(run: Run, line: str, *parts: str) -> str:
    """Run a command line that is refused; give the message, which has some parts."""
    ran = run(*shlex.split(line))
    assert_refused(ran, *parts)
    assert not FOREIGN.search(ran.err), ran.err
    return ran.err


CASES = yaml.safe_load(Path(__file__).with_name("bad_inputs.yaml").read_text(encoding="utf-8"))
VALUES: dict[str, Any] = CASES["values"]
"""A value of the configuration, and the beginning of what is told of it."""


@pytest.mark.parametrize("override", VALUES)
def test_a_bad_value_is_told_with_its_override(run: Run, override: str) -> None:
    ran = run("quickstart", override, "--check")
    assert ran.code == 2, ran.out
    assert ran.out == ""
    head, *lines = ran.err.splitlines()
    assert head.startswith(
        ("error: the overrides have 1 fault:", "error: the study cannot start, 1")
    )
    faults = [line for line in lines if not line.startswith("    ")]  # without commands
    assert len(faults) == 1
    assert VALUES[override] in faults[0]
    assert not FOREIGN.search(faults[0])
    if not faults[0].startswith("  search.asha"):
        assert override[:200] in faults[0], "the override is named"
    assert "quickstart.yaml" not in ran.err


SUBSETS: dict[str, Any] = CASES["subsets"]


@pytest.mark.parametrize("subset", SUBSETS)
def test_a_bad_subset_is_told_though_needed_baselines_are_absent(run: Run, subset: str) -> None:
    baseline = f"mine: {{subset: {subset!r}, rates: {{bias: 0.1, ln: 0.1}}}}"
    told = refused(
        run, shlex.join(["quickstart", f"search.baselines={{{baseline}}}", "--check"]),
        "search.baselines.mine.subset: ", SUBSETS[subset], "(override search.baselines={mine: ",
    )  # fmt: skip
    assert ("must keep 'clipfit'" in told) is ("must keep 'zero-shot'" in told)


@pytest.mark.parametrize(
    ("baselines", "told"),
    [
        (
            "{mine: {subset: clipfit}}",
            "search.baselines.mine: tunes 'text.mlp.fc2.bias + vision.ln'",
        ),
        ("{My Base!: {subset: none}}", "search.baselines.My Base!: must be 1 to 40 small letters"),
        ("{mine: {peer: nothing}}", "search.baselines.mine.peer: peer is unknown"),
        ("{best: {subset: none}}", "search.baselines.best: is a name that results use"),
        ("{}", "search.baselines: is empty; allowed is one or more"),
    ],
)
def test_bad_baselines_are_told(run: Run, baselines: str, told: str) -> None:
    refused(run, shlex.join(["quickstart", f"search.baselines={baselines}", "--check"]), told)


LINES = {
    "nosuch --check": "no configuration 'nosuch'; by name there are ablation, base_to_new",
    "configs/nosuch.yaml --check": "no configuration 'configs/nosuch.yaml'",
    "'' --check": "no configuration ''; by name there are",
    "bad/good --check": "no configuration 'bad/good'",
    "bad/list.yaml --check": "configuration bad/list.yaml must be a mapping of sections",
    "bad/tab.yaml --check": "configuration bad/tab.yaml is not valid YAML",
    "bad/twice.yaml --check": "the key 'seed' is given twice",
    "'bad/two faults.yaml' --check": "two faults.yaml has 2 faults:\n  data.shots: must be a",
    "bad/axis.yaml --check": "allowed are dotted keys with lists of values",
    "quickstart base_to_new --check": "one configuration at most, got quickstart, base_to_new",
    "quickstart search.trials --check": "a value is set by key=value, as in search.trials=40",
    "quickstart --search.trials=5 --check": "unrecognized arguments: --search.trials=5",
    "--chek": "unrecognized arguments: --chek",
    "quickstart search..trials=5 --check": "is not of the form section.field=value",
    "quickstart =5 --check": "is not of the form section.field=value",
    "quickstart 'search.trials=[1' --check": "override 'search.trials=[1': the value is not valid",
    "quickstart 'data.templates=!!python/object/apply:os.system [echo hi]'": "is not valid YAML",
    "quickstart seed=1 seed=2 --check": "the same value twice; allowed is one of each pair:",
    "quickstart --images": "--images belongs to --check, which starts nothing",
    "resume nope": "no study 'nope' in runs; studies there: 'mine'",
    "extend nope": "no study 'nope' in runs; studies there: 'mine'",
    "status ../..": "no study '../..' in runs; studies there: 'mine'",
    "resume mine seed=3": "seed: is frozen as 1, got 3",
    "status mine seed=3": "seed: is frozen as 1, got 3",
    "extend mine search.trials=+0": "which extend must raise, as by\n  "
    "clipfit-study extend mine search.trials=+50\n",
    "photos --check": "data: dataset 'photos' needs a folder",
    "init": "no configuration 'init'",
    "continue mine": "did you mean `clipfit-study resume NAME`?",
    "run --resume mine": "did you mean `clipfit-study resume NAME`?",
    "run --extend mine search.trials=9": "did you mean `clipfit-study extend NAME`?",
    "list x": "'x' is not of the form storage=FOLDER",
    "list storage=/nosuch": "storage=/nosuch is no folder",
    "delete nosuch --yes": "no study 'nosuch' in runs",
    "delete . --yes": "no study '.' in runs",
    "delete bad --yes": "no study 'bad' in runs",
    "predict nosuch bad/good": "no study 'nosuch' in runs",
    "predict models:/nosuch/1 bad/good": "models:/nosuch/1 is not found",
    "export nosuch --format hf --out x": "no study 'nosuch' in runs",
    "export bad/notes.txt --format tf --out x": "--format is 'tf'; allowed are hf, peft,",
    "sync nosuch": "no study 'nosuch' in runs",
    "report nosuch": "no study 'nosuch' in runs",
    **{f"bad/{file} --check": told for file, told in CASES["configurations"].items()},
    **{f"quickstart {words} --check": told for words, told in CASES["overrides"].items()},
}
"""A command line that is wrong, and a part of its message."""


@pytest.mark.parametrize("line", LINES)
def test_a_bad_command_line_is_told(run: Run, line: str) -> None:
    refused(run, line, LINES[line])


def data(name: str, *more: str) -> str:
    own = f"quickstart data.dataset=x data.root=bad/{name} data.shots=4 data.val_shots=2 --check"
    return shlex.join([*own.split(), *more])


IMAGES: dict[str, Any] = CASES["images"]
TABLES: dict[str, Any] = CASES["tables"]
CHECKPOINTS: dict[str, Any] = CASES["checkpoints"]


@pytest.mark.parametrize("name", IMAGES)
def test_bad_images_are_told(run: Run, name: str) -> None:
    refused(run, data(name), IMAGES[name])


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_told(run: Run, name: str) -> None:
    refused(run, data(f"{name}.csv"), TABLES[name])


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_bad_checkpoint_is_told_with_its_folder_and_not_the_hub(
    run: Run, place: Path, name: str
) -> None:
    told = refused(
        run, f"quickstart backbone.name=bad/ck_{name} --check",
        f"backbone: backbone '{place}/bad/ck_{name}' ", CHECKPOINTS[name],
    )  # fmt: skip
    assert f"{place}/bad/ck_{name}" in told
    assert "hub" not in told
    assert "huggingface.co" not in told


def test_what_cannot_be_read_is_told_with_what_helps(run: Run) -> None:
    refused(run, data("truncated"), "data.on_corrupt=skip leaves such images out; --check --images")
    refused(run, data("fake.parquet"), "bad/fake.parquet: not a readable Parquet file")
    refused(
        run, "quickstart data.dataset=eurosat data.root=bad/good --check",
        "split_zhou_EuroSAT.json is missing", "CoOp's DATASETS.md",
    )  # fmt: skip


def test_empty_images_are_told_once_whether_refused_or_left_out(run: Run) -> None:
    ran = run(*shlex.split(data("zerobyte")))
    assert "cotton/" not in ran.out
    assert ran.err.count("cotton/00.png") == 1
    ran = run(*shlex.split(data("zerobyte", "data.on_corrupt=skip")))
    assert assert_accepted(ran) == []
    assert ran.out.count("cotton/00.png") == 1


def test_a_study_that_cannot_read_an_image_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    line = data("truncated", "storage=new/runs", "search.folds=2").replace(" --check", "")
    refused(run, line, "; --check --images finds all such images, and data.on_corrupt=skip leaves")


ACCEPTED = [
    *("quickstart", "quickstart search.space.rates.bias=[1e-3,0.4]", "quickstart name="),
    *("'quickstart' 'tracking.experiment=🧵 x/y'", "quickstart backbone.name=bad/ck_extra"),
    *("resume mine", "quickstart resources.cpus_per_trial=0.5", "quickstart search.trials=0"),
    *("quickstart data.shots=16.0", "quickstart 'data.shots=\"16\"'", "quickstart storage=~/nope"),
    *(
        f"bad/{file}"
        for file in ("empty.yaml", "comment.yaml", "bom.yaml", "dot.yaml", "conf.json")
    ),
    *(data(f"{name}.csv") for name in ("backslash", "below")),
    *(data(name) for name in ("good", "emoji", "dsstore", "saved")),
    data("good").replace("data.dataset=x", "data.dataset=🧵"),
    data("good", "backbone.name=embedded").replace("quickstart data.dataset=x", "photos"),
]


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_is_right_is_accepted_without_a_warning(run: Run, line: str) -> None:
    ran = run(*shlex.split(line), *([] if "--check" in line else ["--check"]))
    assert assert_accepted(ran) == []


WARNED = {
    data("dupes"): "x: 1 image is in two classes (silk/copy.png = cotton/00.png",
    data("pixels"): "x: 1 image is in two classes (silk/other.bmp = cotton/00.png",
    data("leak"): "x: 36 files are among the test images and among those to learn from (",
    data("savedleak"): "x: 36 files are among the test images and among those to learn from (",
    data("leak", "--images"): "x: 36 images are among the test images and among those to learn",
    data("gray16"): "x: its 16-bit images are nearly black: their highest value is",
    data("dangling", "data.on_corrupt=skip"): "x: 6 of 36 listed images are not there, or are led",
    data("outside", "data.on_corrupt=skip"): "x: 6 of 36 listed images are not there, or are led",
    data("webtest.csv", "data.on_corrupt=skip"): "1 of 37 listed images are not there, or are led",
    data("truncated", "data.on_corrupt=skip"): "6 of 36 images cannot be read: ",
    "quickstart backbone.name=bad/ck_noprep --check": "has no preprocessor_config.json: its images "
    "are prepared as for OpenAI's CLIP",
}


@pytest.mark.parametrize("line", WARNED)
def test_what_may_not_be_meant_is_accepted_with_a_warning(run: Run, line: str) -> None:
    ran = run(*shlex.split(line))
    assert_accepted(ran)
    assert WARNED[line] in ran.out


def test_warnings_are_shown_beside_an_image_that_cannot_be_read(run: Run) -> None:
    ran = run(*shlex.split(data("missingtrain.csv")))
    assert ran.code == 2
    assert "by symbolic links (good/silk/99.png)" in ran.out
    assert "1 of 37 images cannot be read: " in ran.err


@pytest.mark.parametrize("what", ["backbone.name=owner/clip", "data.dataset=hf:owner/name"])
def test_a_name_of_the_hub_without_a_network_is_told_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    refused(
        run, f"quickstart {what} --check", "127.0.0.1:9 does not answer (Connection refused)",
        "Bring it over: on a machine with network `hf download owner/",
    )  # fmt: skip


@pytest.mark.parametrize("address", ["127.0.0.1:9", "bad", "ray://127.0.0.1:9"])
def test_a_cluster_that_nobody_answers_for_is_told_in_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("study.search.machine.ANSWERS_WITHIN", 1.0)
    monkeypatch.setenv("RAY_ADDRESS", address)
    refused(
        run, "quickstart --check", "RAY_ADDRESS: ", "or unset RAY_ADDRESS to run trials on this"
    )


def test_a_server_that_is_not_mlflow_is_told(run: Run) -> None:
    answer = b"HTTP/1.1 404 Not here\r\nContent-Length: 0\r\n\r\n"
    with listening(lambda connection: connection.sendall(answer)) as port:
        refused(
            run, f"quickstart tracking.uri=http://127.0.0.1:{port} --check",
            f"http://127.0.0.1:{port} does not answer (HTTP 404: is it an MLflow server at all?)",
        )  # fmt: skip


def test_a_password_in_the_configuration_is_refused_and_not_repeated(run: Run) -> None:
    for uri in ("http://u:s3cret@127.0.0.1:9", "postgresql://u:s3cret@127.0.0.1:9/x"):
        told = refused(run, f"quickstart tracking.uri={uri} --check", "a user name or password")
        assert "s3cret" not in told


def test_a_configuration_of_the_environment_that_is_not_there_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CONFIG", "nosuch")
    refused(run, "--check", "no configuration 'nosuch'")


@pytest.mark.long
def test_an_environment_that_is_odd_does_no_harm(place: Path) -> None:
    odd = {
        "LANG": "C", "LC_ALL": "C", "COLUMNS": "20", "CUDA_VISIBLE_DEVICES": "7",
        "OMP_NUM_THREADS": "abc", "MLFLOW_TRACKING_URI": "", "http_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "study", "run", *shlex.split(data("emoji"))],
        cwd=place, env={**os.environ, **odd}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"all is well" in done.stdout
