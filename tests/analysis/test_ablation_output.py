"""An ablation's tables and files hold the same cells."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq

from study.analysis.ablation import ablation_table
from study.analysis.ablation_output import to_csv, to_markdown, write_ablation
from study.analysis.results import read_results
from study.config.loading import build_config, dump_config


def test_chance_is_said_where_the_classes_of_the_test_images_are_known(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    assert table.chance is None, "without a configuration there is no protocol"
    config = build_config({"data": {"dataset": "glyphs"}}, "test")
    (ablation_study / "study.yaml").write_text(dump_config(config))
    table = ablation_table(read_results(ablation_study))
    assert "Always naming the largest class would score 8.3 % (chance)." in to_markdown(table)
    assert float(next(csv.DictReader(io.StringIO(to_csv(table))))["chance"]) == table.chance


def test_all_files_hold_the_same_cells(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study))
    files = {path.name: path for path in write_ablation(ablation_study, table)}
    assert set(files) == {
        "ablation.parquet",
        "ablation.csv",
        "ablation.md",
        "ablation-forest.svg",
        "ablation-forest.png",
        "ablation-map.svg",
        "ablation-map.png",
    }
    labels = [cell.label for cell in table.cells]
    assert pq.read_table(files["ablation.parquet"])["label"].to_pylist() == labels
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [row["label"] for row in rows] == labels
    assert float(rows[0]["score_mean"]) == table.cells[0].score.mean < 1
    assert all(label.replace("[", "\\[") in files["ablation.md"].read_text() for label in labels)
