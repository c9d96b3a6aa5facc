"""The charts of an ablation have every cell but the base, and grey what is noise."""

from pathlib import Path

from study.report.ablation_charts import ablation_plots
from study.results.ablation import ablation_table
from study.results.study_results import read_results
from tests.report.conftest import AsKept
from tests.report.test_plots import text_of


def test_the_charts_of_an_ablation_are_what_was_kept(ablation_study: Path, as_kept: AsKept):
    charts = ablation_plots(ablation_table(read_results(ablation_study)))
    as_kept("charts-of-an-ablation", "\n".join(map(text_of, charts)))
