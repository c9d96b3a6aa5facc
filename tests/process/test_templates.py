"""A template is filled with what it names, and with nothing else."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from study.process.templates import templates


def test_what_is_not_given_is_an_error(tmp_path: Path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/text.jinja").write_text("{% if true %}\nto {{ name }}\n{% endif %}")
    template = templates(tmp_path, autoescape=True).get_template("inner/text.jinja")
    assert template.render(name="<a>") == "to &lt;a&gt;\n"
    with pytest.raises(UndefinedError, match="name"):
        template.render()
