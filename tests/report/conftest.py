"""The studies that tests of results use, and changes of them that several tests need."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from study.report.charts import Chart
from study.report.page import write_report
from study.results.study_result import read_study_result
from tests.results.conftest import (  # noqa: F401
    ablation_study,
    base_to_new_study,
    drawn_study,
    few_shot_study,
    make_study,
    trained_study,
    tuned_study,
)


@pytest.fixture(scope="session")
def report(drawn_study: tuple[Path, Sequence[Chart]]) -> str:  # noqa: F811
    """The page of a base-to-new study, which stands in its folder."""
    folder, plots = drawn_study
    return write_report(read_study_result(folder), plots).read_text()
