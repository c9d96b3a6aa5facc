"""A template is read as paragraphs, each on one line, and names what it is given."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

import study
from study.report.sentences import rows, sentences
from study.results.intervals import mean_interval
from study.results.resampling import Resampled

TEMPLATES = sorted(Path(study.__file__).parent.rglob("*.txt.jinja"))


def test_paragraphs_are_sentences_and_what_is_not_there_is_an_error():
    values = {"resampled": Resampled({}, {}), "most_overlap": 0.6}
    assert sentences("report/interval_scope", scores={}, **values) == []
    said = sentences("report/interval_scope", scores={"a": mean_interval([0.7])}, **values)
    assert [sentence.partition(" ")[0] for sentence in said] == ["With", "No"]
    with pytest.raises(UndefinedError, match="chosen"):
        sentences("report/findings", ablation=[], board=None)


def test_rows_are_names_and_texts():
    pairs = rows("report/findings", ablation=["Beyond noise: 2 of 3 cells."], board=None)
    assert pairs == [("found", "Beyond noise: 2 of 3 cells.")]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_stands_where_code_asks_for_it(path: Path):
    name = str(path.relative_to(Path(study.__file__).parent)).removesuffix(".txt.jinja")
    room = [file.read_text(encoding="utf-8") for file in path.parent.glob("*.*")]
    assert any(f'"{name}' in text for text in room)
