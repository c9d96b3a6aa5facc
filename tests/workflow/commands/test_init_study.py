"""The command ``init``: its words; what it writes is tested where that is made."""

import pytest

from study.commands import main


def test_a_folder_is_named(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["init"])
    assert "required: FOLDER" in capsys.readouterr().err
