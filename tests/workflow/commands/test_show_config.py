"""The command ``config``: its words; what it prints is tested where that is made."""

from collections.abc import Callable

import pytest

from study.commands import main
from study.config.json_schema import json_schema_text
from tests.workflow.conftest import Run


def test_the_schema_is_printed_alone(run: Run, refused: Callable[..., str]):
    assert run("config", "--schema").out == json_schema_text()
    assert "--schema is of all configurations" in refused("config", "photos", "--schema")
    with pytest.raises(SystemExit):
        main(["config", "--schema", "--explain", "seed"])
