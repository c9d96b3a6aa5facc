"""The JSON schema accepts what configurations may be, and nothing else."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from study.config.sweep import json_schema
from tests.config.test_loading import CONFIG_FILES, CONFIGS

VALIDATOR = Draft202012Validator(json_schema())
SOUND = (
    "{seed: 3, search: {trials: 40, space: {rates: {bias: [0.1, 0.2]}}}}",
    "{format: 2, search: {asha: null, baselines: {a: {subset: ln, rates: {ln: 1}}, b: null}}}",
    "{data: {shots: all, columns: {path: file}}, ablation: {design: grid, subsets: {a: ln}}}",
    "{sweep: {seed: [1]}, exceptions: [{for: {seed: [1]}, set: {data.shots: 4}}]}",
)
FAULTY = {
    "{serch: {trials: 4}}": "",
    "{format: 1}": "format",
    "{search: {trails: 4}}": "search",
    "{search.trials: 4}": "",
    "{search: {trials: many}}": "search.trials",
    "{data: {shots: most}}": "data.shots",
    "{data: null}": "data",
    "{sweep: {data.shots: 1}}": "sweep.data.shots",
    "{exceptions: [{for: {}}]}": "exceptions.0",
}


def test_the_schema_is_one_of_its_dialect():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "path", CONFIG_FILES, ids=lambda path: path.relative_to(CONFIGS).as_posix()
)
def test_a_built_in_file_meets_the_schema(path: Path):
    VALIDATOR.validate(yaml.safe_load(path.read_text()))


def test_a_fault_is_seen_where_it_is():
    for document in SOUND:
        VALIDATOR.validate(yaml.safe_load(document))
    for document, place in FAULTY.items():
        errors = VALIDATOR.iter_errors(yaml.safe_load(document))
        assert [".".join(map(str, error.path)) for error in errors] == [place]
