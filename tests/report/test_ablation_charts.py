"""The charts of an ablation have every cell but the base, and grey what is noise."""

from pathlib import Path

from study.report.ablation_charts import ablation_plots
from study.results.ablation import ablation_table
from study.results.study_results import read_results


def test_the_forest_has_every_cell_but_the_base_and_greys_what_is_noise(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    forest, grid = ablation_plots(table)
    drawn = {series.name: len(series.x) for series in forest.panels[0].series}
    beyond = sum(cell.differs_from_base for cell in table.cells)
    assert drawn == {"beyond noise": beyond, "within noise": 6 - beyond}
    assert list(grid.panels[0].x.names or ()) == ["all", "0:2", "2:4"]
    (cells,) = grid.panels[0].series
    assert len(cells.values) == len(cells.x) == 5
