"""Whatever stands in a configuration, an override or a sweep: studies, or one reported error."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from study.config.loading import dump_config, load_config
from study.config.reference import list_keys
from study.config.sweep import is_sweep, load_sweep

from .conftest import LONGEST_MESSAGE, few_cases, study_errors_allowed

pytestmark = pytest.mark.timeout(1800)

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG_FILES = sorted(CONFIGS.rglob("*.yaml"))
SWEEPS = [path.read_text() for path in CONFIG_FILES if is_sweep(path)]
SINGLE = [path.read_text() for path in CONFIG_FILES if not is_sweep(path)]
WHOLE = dump_config(load_config(CONFIGS / "ablation.yaml"))
"""Every field that there is."""

FRAGMENTS = [
    *("null", "true", "no", "[]", "{}", "[[]]", "{{}: 1}", "''", '"\\0"', '"\\ud800"', "\t"),
    *("0", "-1", "-0", "1e-320", "1e400", ".nan", "-.inf", "0.1", "1_0", "_", "0o9", "2147483648"),
    *("1:2:3", "2001-02-30", "2001-01-01T99:00:00Z", "=", "<<", "!!binary '%'", "!!int x"),
    *("!!timestamp x", "!!map [1]", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1, a: 2]"),
    *("!unknown x", "!!python/object/apply:os.system ['touch owned']", "!!python/name:os.system"),
    *("&a [*a]", "&a {x: *a}", "*nothing", "{<<: [1]}", "{<<: {a: 1}, a: 2}", "{a, a}"),
    *("? [a]\n: b", "a: b: c", "- 1\n- 2", "|\n  text", "# nothing", "%TAG ! x", "--- 1", "..."),
    *("~nobody-of-this-name/x", "/dev/null", "/proc/self/mem", ".", "C:\\x", "hf:a/b", "hf:../x"),
    *("'{}'", "'{x}'", "[1, .inf]", "[2, 1]", "[1]", "{train: x}", "{1: 2}", "{true: x}", "[[1]]"),
    *("é\u202e🐈", "clipfit", "text.bias[9999999]", "text.ln[0:0]", "'- ln'", "[clipfit, clipfit]"),
    *("9" * 5000, "0x" + "f" * 5000, "9" * 30, "a" * 300, "/" + "a/" * 3000),
    *("[" * 3000, "[" * 90 + "]" * 90, "{a: " * 60 + "1" + "}" * 60),
]
words = st.text(
    st.characters(exclude_characters="\n\r:#", exclude_categories=["Cc", "Cs"]), max_size=12
)
fragments = st.sampled_from(FRAGMENTS) | st.integers().map(str) | st.floats().map(repr) | words
spoils = fragments | st.sampled_from(["", "\0", "\t", "\n", ": ", "- ", "&a ", "*a", "'", "["])


@st.composite
def documents(draw: st.DrawFn, texts: list[str]) -> str:
    """Damage a sound document in a few of its lines, or anywhere."""
    lines = draw(st.sampled_from(texts)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        key, _, value = lines[at].partition(":")
        indent = key[: len(key) - len(key.lstrip())]
        word, fragment = draw(words), draw(fragments)
        changed = [
            "",
            f"{key}: {fragment}",
            f"{indent}{word}:{value}",
            f"{lines[at]}\n{indent}{word}: {fragment}",
            f"{lines[at]}\n{lines[at]}",
        ]
        lines[at] = draw(st.sampled_from(changed))
    text = "\n".join(lines)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(spoils) + text[at + draw(st.integers(0, 40)) :]
    return text


keys = st.sampled_from([key.name.lower() for key in list_keys()])
overrides = st.lists(st.tuples(keys | words, fragments).map("=".join), max_size=3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a document is written."""
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


@few_cases()
@given(documents([*SINGLE, WHOLE]), overrides)
@example("", ["seed=" + "[" * 3000])
@example("", ["seed=0x" + "f" * 5000])
@example("", ["search.trials=" + "9" * 400])
def test_any_document_is_a_configuration_or_one_reported_error(
    file: Path, text: str, given: list[str]
):
    file.write_bytes(text.encode(errors="surrogatepass"))
    with study_errors_allowed():
        config = load_config(file, given)
        file.write_text(dump_config(config))
        assert load_config(file) == config
    assert not Path("owned").exists()


@few_cases()
@given(documents(SWEEPS), overrides)
def test_any_sweep_is_studies_or_one_reported_error(file: Path, text: str, given: list[str]):
    file.write_bytes(text.encode(errors="surrogatepass"))
    with study_errors_allowed():
        if is_sweep(file):
            load_sweep(file, given)


def bomb(first: str, each: str) -> str:
    """Name ten times in every line what the line before names."""
    lines = [f"a: &a {first}"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} {each.format(', '.join([f'*{before}'] * 10))}")
    return "\n".join(lines)


BOMB = bomb("[lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]", "[{}]")
BOMBS = {
    "aliases": BOMB,
    "fields": BOMB + "\ndata: {targets: *i, dataset: *i}\nseed: *i",
    "axes": BOMB + "\nsweep: {seed: *i, name: *i}",
    "list": "- " + BOMB.replace("\n", "\n- "),
    "merges": bomb("{k: 1}", "{{<<: [{}]}}") + "\ndata: *i",
    "product": "sweep: {" + ", ".join(f"data.{key}: [{'1, ' * 99}1]" for key in "abcdefgh") + "}",
    "keys": "data: {" + ", ".join(f"key{n}: 1" for n in range(10_000)) + "}",
    "brackets": "[" * 100_000,
}
READ_ALL = f"""
import resource, sys
from pathlib import Path
from study.config.loading import load_config
from study.errors import StudyError
from study.config.sweep import is_sweep, load_sweep
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
for source in map(Path, sys.argv[1:]):
    try:
        load_sweep(source) if is_sweep(source) else load_config(source)
    except StudyError as error:
        print(source.stem, len(str(error)) < {LONGEST_MESSAGE})
"""


def test_documents_that_unfold_without_end_are_refused_within_small_memory(tmp_path: Path):
    files = [tmp_path / f"{name}.yaml" for name in BOMBS]
    for file, text in zip(files, BOMBS.values(), strict=True):
        file.write_text(text)
    command = [sys.executable, "-c", READ_ALL, *map(str, files)]
    done = subprocess.run(command, timeout=240, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [word for name in BOMBS for word in (name, "True")]
