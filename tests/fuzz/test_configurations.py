"""Whatever stands in a configuration, an override or a sweep: studies, or one told error."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from study.config.loading import dump_config, load_config
from study.config.sweep import is_sweep, load_sweep
from study.errors import StudyError
from study.run import main

from .conftest import places

pytestmark = pytest.mark.timeout(1800)

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = {path: yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.rglob("*.yaml"))}
SINGLE = [tree for tree in SHIPPED.values() if "sweep" not in tree]
SWEEPS = [tree for tree in SHIPPED.values() if "sweep" in tree]
WHOLE = dump_config(load_config(CONFIGS / "ablation.yaml"))
"""Every field that there is."""
LONGEST_MESSAGE = 100_000
"""Characters: an error that repeats a bomb is one itself."""
MARK = "!mark"
"""Where a fragment comes into a document that is otherwise written by the library."""

FRAGMENTS = [
    *json.loads(Path(__file__).with_name("fragments.json").read_text(encoding="utf-8")),
    *(
        "9" * 5000,
        "-" + "9" * 400,
        "0x" + "f" * 5000,
        "9" * 30,
        "[" * 3000,
        "[" * 90 + "]" * 90,
        "{a: " * 60 + "1" + "}" * 60,
        "a" * 300,
        "/" + "a/" * 3000,
    ),
]
words = st.text(
    st.characters(exclude_characters="\n\r:#", exclude_categories=["Cc", "Cs"]), max_size=12
)
fragments = st.one_of(
    st.sampled_from(FRAGMENTS),
    st.integers().map(str),
    st.floats().map(repr),
    words.map(lambda text: yaml.safe_dump(text).splitlines()[0]),
)


@st.composite
def documents(draw: st.DrawFn, trees: list[Any]) -> str:
    """Damage a sound document in a few places, in its values, its keys and its text."""
    tree = yaml.safe_load(yaml.safe_dump(draw(st.sampled_from(trees))))
    put: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(list(places(tree)) or [("name",)]))
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "drop", "rename", "add"]))
        if change == "drop":
            del parent[path[-1]]
        elif change == "rename" and isinstance(parent, dict):
            parent[draw(words)] = parent.pop(path[-1])
        elif change == "add" and isinstance(parent, dict):
            parent[draw(words)] = f"{MARK}{len(put)}"
            put.append(draw(fragments))
        else:
            parent[path[-1]] = f"{MARK}{len(put)}"
            put.append(draw(fragments))
        if not tree:
            break
    text = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=draw(st.booleans()))
    for number, fragment in enumerate(put):
        text = text.replace(f"'{MARK}{number}'", fragment)
    for _ in range(draw(st.integers(0, 2))):
        text = draw(damaged(text))
    return text


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """Cut, double or spoil a text somewhere."""
    at = draw(st.integers(0, len(text)))
    stop = min(len(text), at + draw(st.integers(0, 40)))
    put = draw(
        st.sampled_from(
            ["", text[at:stop] * 2, "\0", "\t", "\n", ": ", "- ", "&a ", "*a", "'", "["]
        )
        | fragments
    )
    return text[:at] + put + text[stop:]


overrides = st.lists(
    st.tuples(
        st.sampled_from(
            [
                ".".join(map(str, path))
                for path in places(yaml.safe_load(WHOLE))
                if all(isinstance(key, str) for key in path)
            ]
        )
        | words,
        fragments,
    ).map("=".join),
    max_size=3,
)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Let the project's own errors pass, if they can be shown."""
    message = "told"
    try:
        yield
    except StudyError as error:
        message = str(error)
    assert 0 < len(message.encode()) < LONGEST_MESSAGE


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a document is written."""
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


@settings(deadline=None)
@given(documents([*SINGLE, yaml.safe_load(WHOLE)]))
def test_any_document_is_a_configuration_or_one_told_error(file: Path, text: str) -> None:
    file.write_bytes(text.encode(errors="surrogatepass"))
    with told():
        config = load_config(file)
        file.write_text(dump_config(config))
        assert load_config(file) == config
    assert not Path("owned").exists()


@settings(deadline=None)
@given(st.sampled_from(SINGLE), overrides)
@example(SINGLE[0], ["seed=" + "[" * 3000])
@example(SINGLE[0], ["seed=0x" + "f" * 5000])
@example(SINGLE[0], ["search.trials=" + "9" * 400])
def test_any_override_is_taken_or_one_told_error(file: Path, tree: Any, given: list[str]) -> None:
    file.write_text(yaml.safe_dump(tree))
    with told():
        load_config(file, given)


@settings(deadline=None)
@given(documents(SWEEPS), overrides)
def test_any_sweep_is_studies_or_one_told_error(file: Path, text: str, given: list[str]) -> None:
    file.write_bytes(text.encode(errors="surrogatepass"))
    with told():
        if is_sweep(file):
            load_sweep(file, given)


@pytest.mark.parametrize(
    "arguments",
    [
        ["a\0b"],
        ["quickstart", 'storage="a\\0b"'],
        ["quickstart", "backbone.name=" + "a" * 300],
        ["quickstart", "data.dataset=mine", "data.root=/dev/null"],
        ["quickstart", "data.shots=" + "9" * 30, "data.short=take_all"],
        ["quickstart", "search.trials=" + "9" * 400],
        ["resume", "a", "storage=" + "a" * 300],
    ],
)
def test_what_no_file_system_or_machine_has_is_told(
    tmp_path: Path,
    mlflow_store: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    assert main([*arguments, "--check"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


BOMB = "\n".join(
    ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    + [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)
MERGED = "\n".join(
    ["a: &a {k: 1}"]
    + [
        f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        BOMB + "\ndata: {targets: *i, dataset: *i}\nseed: *i",
        BOMB + "\nsweep: {seed: *i, name: *i}",
        "- " + BOMB.replace("\n", "\n- "),
        MERGED + "\ndata: *i",
        "sweep: {" + ", ".join(f"data.{key}: [{'1, ' * 99}1]" for key in "abcdefgh") + "}",
        "data: {" + ", ".join(f"key{n}: 1" for n in range(10_000)) + "}",
        "[" * 100_000,
    ],
    ids=["aliases", "fields", "axes", "list", "merges", "product", "keys", "brackets"],
)
def test_a_document_that_unfolds_without_end_is_refused_within_small_memory(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "from pathlib import Path\n"
        "from study.config.loading import load_config\n"
        "from study.errors import StudyError\n"
        "from study.config.sweep import is_sweep, load_sweep\n"
        "source = Path('bomb.yaml')\n"
        "try: load_sweep(source) if is_sweep(source) else load_config(source)\n"
        f"except StudyError as error: sys.exit(0 if len(str(error)) < {LONGEST_MESSAGE} else 3)\n"
        "sys.exit(4)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0
