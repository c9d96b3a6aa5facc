"""What the documents name exists: links, paths, commands, configuration keys, the version."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from study.commands.find import find_config_and_overrides
from study.commands.main import COMMANDS, _parse
from study.config.loading import load_config
from study.config.reference import list_keys
from study.config.sweep import is_sweep, load_sweep

ROOT = Path(__file__).parent.parent
FOLDERS = ("study", "tests", "configs", "clusters")
PAGES = sorted([*ROOT.glob("*.md"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))])
SECTIONS = "data|backbone|training|search|test|ablation|resources|tracking"
PLACEHOLDER = r"\b(NAME|PACKAGE|TRIAL|FOLDER|DIR|LABEL)\b"

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def blocks(page: Path) -> list[str]:
    """The code blocks of a page."""
    return re.findall(r"(?ms)^```\w*\n(.*?)^```", page.read_text())


def spans(page: Path) -> list[str]:
    """What stands in backticks, outside of code blocks."""
    prose = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    return re.findall(r"`([^`]+)`", prose)


def words(page: Path) -> list[str]:
    """The words in backticks and in code blocks."""
    return [word for text in [*blocks(page), *spans(page)] for word in text.split()]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of this package that a page spells out, without the program."""
    lines = [line for block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *spans(page)]:
        _, name, rest = line.rpartition("clipfit-study ")
        if not name:
            _, name, rest = line.rpartition("ray submit clusters/gpu.yaml study/run.py -- ")
        if name and not line.startswith("#") and "…" not in rest:
            words = shlex.split(rest, comments=True)
            yield words[: words.index(">")] if ">" in words else words


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    headings = re.findall(r"(?m)^#+ (.*)$", prose)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@every_page
def test_links_lead_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert target.resolve().is_relative_to(ROOT)
        assert not anchor or anchor in anchors(target), link


@every_page
def test_paths_of_the_project_exist(page: Path):
    for word in (word.strip("'\"(),:;") for word in words(page)):
        if re.search(rf"{PLACEHOLDER}|[{{=<>]|://", word):
            continue
        if re.match(rf"({'|'.join(FOLDERS)}|\.ci)/", word):
            assert any(ROOT.glob(word.rstrip("/"))), word
        elif re.fullmatch(r"[\w/-]+\.(py|sh|toml|cff)", word):
            around = [page.parent] if page.parent != ROOT else [ROOT / f for f in FOLDERS]
            assert (ROOT / word).exists() or any(any(f.rglob(word)) for f in around), word


@every_page
def test_commands_are_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "study.yaml").write_text("seed: 1\n")  # as `init` writes it
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for command in commands(page):
        if command[1:] or command[0] not in COMMANDS:  # its name alone stands for all of it
            name, options = _parse(command)
            if name in ("run", "config"):
                source, overrides = find_config_and_overrides(options.words)
                if is_sweep(source):
                    assert load_sweep(source, overrides)
                else:
                    load_config(source, overrides)


@every_page
def test_configurations_are_valid(page: Path, tmp_path: Path):
    for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", page.read_text()):
        source = tmp_path / "study.yaml"
        source.write_text(block)
        assert load_sweep(source) if is_sweep(source) else load_config(source)


@every_page
def test_no_other_module_is_a_command(page: Path):
    modules = re.findall(r"python -m ([\w.]+)", page.read_text())
    assert set(modules) <= {"venv", "study"}


@every_page
def test_configuration_keys_exist(page: Path):
    if page.name == "CHANGELOG.md":  # which has the keys of earlier releases, too
        return
    keys = [key.name.split(".") for key in list_keys()]
    known = {".".join(key[:end]) for key in keys for end in range(1, 5)}
    for word in words(page):
        found = re.match(rf"'?((?:{SECTIONS})(?:\.[a-z_]+)+)(?:[=:]|$)", word)
        if found and not word.endswith(".py"):
            key = re.sub(r"^search\.baselines\.[a-z_]+", "search.baselines.LABEL", found[1])
            assert key in known, word


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (first, *_) = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    images = re.findall(r"clipfit:([\w.]+)", (ROOT / "clusters" / "kubernetes.yaml").read_text())
    assert {citation["version"], *images} == {version}
    released = f"[{version}] - {citation['date-released']}"
    towards = f"[Unreleased], towards {version.removesuffix('.dev0')}"
    assert first == (towards if version.endswith(".dev0") else released)
