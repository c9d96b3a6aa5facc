"""Keys that no configuration has are told at once, with the other faults of the file."""

from pathlib import Path

import pytest

from study.commands.unknown_keys import refuse_unknown_keys
from study.config.loading import ConfigFaults


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("data: {shots: 4}\n")
    return path


def test_a_configuration_without_unknown_keys_passes_whatever_else_is_wrong(source: Path):
    refuse_unknown_keys(source, ["seed=3"])
    refuse_unknown_keys(source, ["seed=many"])


@pytest.mark.parametrize("axes", ["", "sweep: {seed: [1, 2]}\n"], ids=["study", "sweep"])
def test_an_unknown_key_is_refused_with_the_nearest(source: Path, axes: str):
    source.write_text(axes)
    with pytest.raises(ConfigFaults, match="trainin: unknown key; did you mean 'training'"):
        refuse_unknown_keys(source, ["trainin=3", "name=my"])


def test_faults_that_depend_on_the_protocol_are_told_with_it(source: Path):
    overrides = ["trainin=3", "protocol=transfer"]
    with pytest.raises(ConfigFaults) as caught:
        refuse_unknown_keys(source, overrides)
    assert "data.targets: " in str(caught.value)
    with pytest.raises(ConfigFaults, match=r"protocol: .*one_shot"):
        refuse_unknown_keys(source, ["trainin=3", "protocol=one_shot"])
