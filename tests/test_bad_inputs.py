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
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from listening import listening

from study.config.loading import build_config, dump_config
from study.method.backbone import load_backbone
from study.run import main
from study.storage.ledger import StudyFolder

pytest.importorskip("datasets")

FOREIGN = re.compile(
    r"Traceback|codec|Errno|Exception|\w+Error\b|Max retries|NoneType|<class|Input should"
    r"|valid (tuple|dict|integer|string|number|list)|should match|Field required|Repo id"
)
"""What the sentences of libraries have, and plain words have not."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with all bad inputs in ``bad``, and a study in ``runs``."""
    from bad_inputs import make_bad_inputs

    place = tmp_path_factory.mktemp("place")
    (place / "bad").mkdir()
    make_bad_inputs(place / "bad")
    config = build_config({"name": "mine", "search": {"trials": 12}}, "here")
    folder = StudyFolder(place / "runs" / "mine")
    folder.create(dump_config(config), {})
    (folder.path / ".lock").touch()
    with pytest.MonkeyPatch.context() as patch:
        # Each check loads the checkpoint, which takes most of its time.
        patch.setattr("study.workflow.check.load_backbone", cache(load_backbone))
        yield place


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(place: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; give its exit code, and what it printed. Nothing may be left behind."""

    def run(*words: str) -> SimpleNamespace:
        before = _there(place)
        try:
            code = main(words)
        except SystemExit as end:  # of argparse
            code = int(str(end.code))
        told = capfd.readouterr()
        assert _there(place) == before, "something was left behind"
        return SimpleNamespace(code=code, out=told.out, err=told.err)

    return run


def _there(place: Path) -> set[Path]:
    return {*place.iterdir(), *(place / "runs").rglob("*")}


def refused(run: Run, line: str, *parts: str) -> str:
    """Run a command line that is refused; give the message, which has some parts."""
    ran = run(*shlex.split(line))
    assert ran.code == 2, ran.out
    assert ran.err.count("error: ") == 1, "one message"
    assert len(ran.err) < 3000
    assert not FOREIGN.search(ran.err), ran.err
    for part in parts:
        assert part in ran.err
    return ran.err


VALUES = {
    "search=5": "search: must be a section with keys of its own, got 5",
    "search.trials=-1": "search.trials: must be at least 0, got -1",
    "search.trials=2.5": "search.trials: must be a whole number, got 2.5",
    "search.trials=1000000000": "search.trials: must be at most 100000, got 1000000000",
    "search.trials=": "search.trials: must be a whole number, got None",
    "search.trials=true": "search.trials: must be a number, which true and false (yes and no)",
    "search.trials=4": "search.trials: 4 leaves too few beside the 4 baselines; allowed is 8",
    "search.minutes=soon": "search.minutes: must be a number, got 'soon'",
    "data.shots=yes": "data.shots: must be a number, which true and false (yes and no) are not",
    "data.shots=100000": "data: digits: 100000 shots a class are wanted, but 'digit zero' has 89",
    "data.shots=.inf": "data.shots: must be a finite number, got inf",
    "data.short=some": "data.short: must be 'fail' or 'take_all', got 'some'",
    "data.augment=maybe": "data.augment: must be true or false, got 'maybe'",
    "data.pixel_range=[1, 0]": "data.pixel_range: the first number must be below the second",
    "data.on_corrupt=ignore": "data.on_corrupt: must be 'fail' or 'skip', got 'ignore'",
    "data.columns={picture: x}": "data.columns.picture: must be 'path', 'label', 'class_name'",
    "data.root=''": "data.root: is empty; allowed is the path of a file or folder",
    "data.shots_from=none": "data.shots_from: none is no folder; allowed is one with published",
    "training.epochs=1": "search.asha.grace_period: 3 is longer than training.epochs, which is 1",
    "training.epochs=1000000000": "training.epochs: must be at most 100000",
    "training.batch_size=0": "training.batch_size: must be at least 1, got 0",
    "training.precision=fp16": "training.precision: must be 'float32', 'bfloat16' or 'auto'",
    "training.optimizer=SGD": "training.optimizer: must be 'sgd' or 'adamw', got 'SGD'",
    "search.space.bias_lr=[0.4, 0.001]": "rates.bias: the lower bound is above the upper one",
    "search.space.bias_lr=[0.4]": "rates.bias.1: is missing; the list must have 2 values",
    "search.space.bias_lr=[1, 1.0e10]": "search.space.rates.bias.1: must be at most 1000",
    "search.space.rates.bias=[.nan, 1]": "rates.bias.0: must be a finite number, got nan",
    "search.space.rates.weight=[1, 2]": "'weight' is no kind of parameter; allowed are bias, ln",
    "search.space.sites=[]": "search.space: sites is empty: there is nothing to search",
    "search.space.heads=[text, text]": "search.space.heads: names one head twice",
    "search.sampler=TPE": "search.sampler: 'TPE' is unknown; allowed are tpe, random",
    "search.warm_start=none": "search.warm_start: no study 'none' with a search in runs",
    "search.tuned_share=0.99": "search.tuned_share: must be at most 0.9, got 0.99",
    "name=🧵": "name: must be 1 to 100 letters, digits, dots, hyphens and underscores",
    "name=my study": "name: must be 1 to 100 letters",
    "name=../up": "name: must be 1 to 100 letters",
    "name=mine": "name: study 'mine' exists in runs; choose another name, or go on "
    "with it by this command (override name=mine)",
    "seed=abc": "seed: must be a whole number, got 'abc'",
    "seed=-1": "seed: must be at least 0, got -1",
    "seed.deeper=1": "seed: must be a whole number",
    "confirm.seeds=5": "as in [5], got 5",
    "confirm.seeds=[1, 1]": "confirm: seeds [1, 1] name one seed twice",
    "name=Images": "name: runs/images is the folder of decoded images; choose another name",
    "confirm.seeds=[1]": "confirm.seeds: must have at least 2 entries, got [1]",
    "confirm.strength=2": "confirm.strength: must be at most 1, got 2",
    "confirm.runners_up=99": "confirm.runners_up: must be at most 8, got 99",
    "protocol=base_to_new": "search.selection: 'folds' cannot score trials",
    "protocol=fewshot": "protocol: 'fewshot' is unknown (did you mean 'few_shot'?)",
    "ablation.design=all": "ablation.design: must be 'only_one', 'leave_one_out', 'layers'",
    "resources.gpus_per_trial=999": "resources.gpus_per_trial: 999 a trial, and this machine has",
    "resources.cpus_per_trial=9999": "resources.cpus_per_trial: 9999 a trial, and this machine",
    "resources.max_concurrent=0": "resources.max_concurrent: must be at least 1, got 0",
    "data.templates=a photo of a {}": "as in ['a photo of a {}']",
    'data.templates=["{} and {}"]': "data: templates of digits: got '{} and {}'; at least one",
    'data.templates=["a photo"]': "data.templates: 'a photo' has no {} for the class name",
    f'data.templates=["{"very " * 100}{{}}"]': "data.templates: prompt 'very very very",
    "storage=/proc/x": "storage: /proc/x cannot be written: /proc is not writable",
    "storage=bad/notes.txt": "storage: bad/notes.txt cannot be written",
    "storage=s3://bucket/runs": "storage: s3:/bucket/runs is no folder",
    "storage=": "storage: must be the path of a file or folder, got None",
    "search.trails=5": "search.trails: unknown key; did you mean 'trials'?",
    "serch.trials=5": "serch: unknown key; did you mean 'search'?",
    "sweep={seed: [1, 2]}": "sweep: unknown key; did you mean 'seed'?",
    "backbone.name=": "backbone.name: must be text, got None",
    "backbone.name=bad/ck_nonexist": "bad/ck_nonexist' is no folder: ",
    "backbone.name=bad/notes.txt": "notes.txt is a file; allowed is a folder with config.json",
    "backbone.name=a b c": "backbone: backbone 'a b c' is no folder: ",
    "tracking.tracker=wandb": "tracking.tracker: 'wandb' is unknown; allowed are mlflow",
    "tracking.experiment=''": "tracking.experiment: must have at least 1 character",
    "tracking.uri=http://127.0.0.1:9": "http://127.0.0.1:9 does not answer (Connection refused)",
    "tracking.uri=http://127.0.0.1:999999": "is no address of a server (Port out of range",
    "tracking.uri=sqlite:///none/x.db": "tracking: the folder none of the MLflow store",
    "tracking.uri=sqlite:///bad": "tracking: sqlite:///bad is a folder, and a store is a file",
    "tracking.uri=sqlite:///bad/notes.txt": "is a file of another kind, and no SQLite store",
    "tracking.uri=sqlite://": "tracking: sqlite:// is a store in memory, which ends with the study",
    "tracking.uri=mlruns": "tracking: mlruns is a folder of files, which MLflow no longer writes",
    "tracking.uri=foo://x": "tracking: foo://x begins with 'foo://', which MLflow does not know",
    "data.dataset=pets": "data: dataset 'pets' needs a folder; without one: digits, glyphs",
    "data.dataset=''": "data.dataset: must have at least 1 character",
    "data.dataset=hf:bad/good": "bad/good is on this machine, and hf: is for datasets of the hub; "
    "use data.root=bad/good",
    "data.dataset=hf:a b": "data: hf:a b: not a dataset of the hub; allowed is hf:owner/name",
    "data.targets=[glyphs]": "data.targets: few_shot has no use for them; allowed with",
    "data.root=bad/good": "data.root: the folder 'bad/good' is given, but 'digits' would be used",
}
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


SUBSETS = {
    "clipfitt": "unknown name 'clipfitt' (did you mean 'clipfit'?)",
    "text.mlp.fc3.bias": "names no site of the text encoder (did you mean 'mlp.fc2.bias'?)",
    "text.mlp.fc2.bias[5:2]": "layers '[5:2]' are empty",
    "text.mlp.fc2.bias[99]": "selects no layer: the text encoder has layers 0 to 2",
    "text.attn.k.bias": "cannot change the model: a key bias adds the same number",
    "": "an empty subset: write 'none', a preset",
    "text.ln_pre": "'text.ln_pre' names no site of the text encoder; its sites are",
    "text.mlp.fc2.bias[0:2": "expected '+' or '-' at '[0:2'",
    "clipfit - bitfit": "takes away nothing",
    "TEXT.LN": "unknown name 'TEXT.LN' (did you mean 'text'?)",
    "🧵": "expected a term at '🧵'; a term is encoder.site[layers]",
    "text.mlp.fc2.bias[0:2:2]": "layers '[0:2:2]' are no slice such as [0:4], [-2:] or [3]",
}


@pytest.mark.parametrize("subset", SUBSETS)
def test_a_bad_subset_is_told_though_needed_baselines_are_absent(run: Run, subset: str) -> None:
    baseline = f"mine: {{subset: {subset!r}, bias_lr: 0.1, ln_lr: 0.1}}"
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
    "bad/binary.yaml --check": "bad/binary.yaml cannot be read: it is not text in UTF-8",
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
    "--resume nope": "no study 'nope' in runs; there are mine",
    "--extend nope": "no study 'nope' in runs; there are mine",
    "--status ../..": "no study '../..' in runs; there are mine",
    "--resume mine seed=3": "seed: is frozen as 1, got 3",
    "--status mine seed=3": "seed: is frozen as 1, got 3",
    "--extend mine search.trials=+0": "which --extend must raise, as by\n  "
    "clipfit-study run --extend mine search.trials=+50\n",
    "photos --check": "data: dataset 'photos' needs a folder",
}
"""A command line that is wrong, and a part of its message."""


@pytest.mark.parametrize("line", LINES)
def test_a_bad_command_line_is_told(run: Run, line: str) -> None:
    refused(run, line, LINES[line])


def data(name: str, *more: str) -> str:
    own = f"quickstart data.dataset=x data.root=bad/{name} data.shots=4 data.val_shots=2 --check"
    return shlex.join([*own.split(), *more])


IMAGES = {
    "truncated": "6 of 36 images cannot be read: ",
    "zerobyte": "00.png: not a readable image (it is empty)",
    "notimage": "not a readable image (it begins like none of BMP, GIF, JPEG",
    "bomb": "00.png: has more than 178,956,970 pixels",
    "strip": "images cannot be read",
    "dangling": "led out of it by symbolic links: 2 of 12 test images, 'cotton/04.png'",
    "outside": "x: not in bad/outside, or led out of it by symbolic links: ",
    "loop": "data: bad/loop/up: is a broken link",
    "upward": "data: bad/upward: no images (.bmp .gif .jfif .jpe .jpeg .jpg .pgm .png .ppm .tif "
    ".tiff .webp)",
    "longname": "data.templates: prompt 'a photo of a nnn",
    "casedup": "data: x: classes that CLIP reads as the same text: 'Cat' and 'cat'",
    "oneclass": "data: x: 'accuracy' would be tested on one class alone, 'cat'",
    "few": "data: x: 4 shots a class are wanted, but 'cotton' has 1",
    "emptyclass": "in 'zzz'",
    "flat": "data: bad/flat: no class folders; allowed are root/class/*.jpg",
    "trainonly": "has 'train' without 'test' or 'val'",
    "testonly": "has 'test' without 'train'",
    "mism": "data: bad/mism/test: classes without training images: 'extra'",
    "nonexist": "data: dataset 'x': no such file or folder: bad/nonexist",
    "notes.txt": "data: bad/notes.txt: not a dataset; allowed: a folder, .csv, .tsv, .parquet",
    "good/silk/01.png": "not a dataset; allowed: a folder",
}
TABLES = {
    "latin1": "cannot be read (it is not text in UTF-8, as it has the byte 0xfc)",
    "nohead": "needs a column 'path' and a column 'label' or 'class_name' (or both); got ",
    "abs": "row 1: path '/etc/good/cotton/00.png' is not inside the dataset's folder",
    "dotdot": "allowed are relative paths without '..'",
    "dup": "dup.csv, row 37: 'good/cotton/00.png' is listed twice, in row 1 too; rows 38, 39",
    "emptyname": "row 25: has no class name; rows 26, 27, 28, 29, 30 and 6 more have this",
    "longclass": "data.templates: prompt 'a photo of a ",
    "case": "classes that CLIP reads as the same text: 'COTTON' and 'cotton'",
    "split": "row 1: split 'trian'; allowed: train, val, valid, validation, test",
    "half": "12 rows have no split (25, 26, 27, 28, 29 and 7 more); allowed: all or none",
    "trainonly": "data: x: has no test images",
    "missingtest": "led out of it by symbolic links: 1 of 13 test images, 'good/silk/99.png'",
    "webtest": "led out of it by symbolic links: 1 of 13 test images, 'https:/",
    "web": "none of the 18 training images that are listed is in bad: ",
    "label1": "labels must be 0..n-1 without gaps; missing: 0",
    "labelonly": "labels are numbers, so a column 'class_name' is needed as well",
    "headonly": "has no rows",
    "empty": "has no rows",
    "ragged": "row 37: other than 2 fields",
}
CHECKPOINTS = {
    "noconfig": "has no config.json in its folder",
    "notok": "has a tokenizer without words; allowed is a checkpoint with its tokenizer.json",
    "bin": "has no weights in safetensors format in its folder",
    "trunc": "has weights that cannot be read",
    "missing": "lacks 1 tensors of a CLIPModel, first text_model.encoder.layers.0.mlp.fc2.bias",
    "nan": "has NaN or infinity in 1 of its 110 tensors, first text_projection.weight",
    "zero": "has nothing but zeros in ",
    "bert": "is a 'bert' model; allowed are 'clip', 'siglip'",
    "siglip": "has a config.json that describes no SigLIP (texts have 64 features, and images 96",
    "openclip": "is an OpenCLIP model with vision_cfg.timm_model_name = 'vit_base'",
    "depth": "tensors of a CLIPModel, first vision_model.encoder.layers.3",
    "shape": "tensors of another shape than its config.json says",
    "empty": "has no weights in safetensors format and no config.json in its folder",
}


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
        f"backbone: backbone '{place}/bad/ck_{name}' {CHECKPOINTS[name]}"
        if name not in ("depth", "shape") else CHECKPOINTS[name],
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


def test_a_study_that_cannot_read_an_image_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    line = data("truncated", "storage=new/runs", "search.folds=2").replace(" --check", "")
    refused(run, line, "; --check --images finds all such images, and data.on_corrupt=skip leaves")


ACCEPTED = [
    *("quickstart", "quickstart search.space.bias_lr=[1e-3,0.4]", "quickstart name="),
    *("'quickstart' 'tracking.experiment=🧵 x/y'", "quickstart backbone.name=bad/ck_extra"),
    *("--resume mine", "quickstart resources.cpus_per_trial=0.5"),
    *(data(f"{name}.csv") for name in ("bom", "backslash", "below", "semicolon")),
    *(data(name) for name in ("good", "animated", "emoji", "upper", "dsstore", "saved")),
    data("good").replace("data.dataset=x", "data.dataset=🧵"),
    data("good", "backbone.name=embedded").replace("quickstart data.dataset=x", "photos"),
]


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_is_right_is_accepted_without_a_warning(run: Run, line: str) -> None:
    ran = run(*shlex.split(line), *([] if "--check" in line else ["--check"]))
    assert ran.code == 0, ran.err
    assert ran.err == ""
    warnings = ran.out.partition("all is well")[2].splitlines()[1:]
    assert all("has seen printed characters" in warning for warning in warnings)


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
    assert ran.code == 0, ran.err
    assert ran.err == ""
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
