"""Tables that stand beside the code: each is read by the file of its module."""

from pathlib import Path

from study.process.table_files import read_table


def test_a_table_stands_beside_its_module_and_is_read_as_utf_8(tmp_path: Path):
    (tmp_path / "groups.toml").write_text('"text.ln" = "all LayerNorms’ rates"\n', encoding="utf-8")
    assert read_table(str(tmp_path / "groups.py")) == {"text.ln": "all LayerNorms’ rates"}
