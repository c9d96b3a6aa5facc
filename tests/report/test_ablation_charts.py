"""The charts of an ablation have every cell but the base, and grey what is noise."""

from pathlib import Path

from study.report.ablation_charts import ablation_plots
from study.results.ablation import ablation_table
from study.results.study_results import read_results
from tests.report.conftest import AsReviewed
from tests.report.test_plots import text_of


def test_the_charts_of_an_ablation_are_what_was_reviewed(
    ablation_study: Path, as_reviewed: AsReviewed
) -> None:
    charts = ablation_plots(ablation_table(read_results(ablation_study)))
    as_reviewed("charts-of-an-ablation", "\n".join(map(text_of, charts)))
