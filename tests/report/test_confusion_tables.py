"""What images are taken for is told class by class, and drawn for few classes and for many."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from study.report.charts import Chart, draw
from study.report.confusion_tables import (
    class_accuracy_table,
    confusion_charts,
    confusion_table,
    recall_chart,
)
from study.report.formatting import Table
from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet
from tests.changed_studies import HASH, board_of
from tests.fake_ledger import CLASSES
from tests.report.conftest import AsKept
from tests.report.test_plots import text_of

TEXT = "{http://www.w3.org/2000/svg}text"


def tables_of(folder: Path) -> tuple[Table, Table]:
    board = board_of(folder)
    return class_accuracy_table(board), confusion_table(board)


def column(table: Table, name: str) -> set[object]:
    return {row[table.header.index(name)] for row in table.rows}


def charts_of(folder: Path) -> list[Chart]:
    return confusion_charts(board_of(folder))


def test_each_class_has_its_numbers_of_images(trained_study: Path):
    table, _ = tables_of(trained_study)
    trained, tested = (table.header.index(f"{name} on") for name in ("trained", "tested"))
    images = {row[0]: (row[trained], row[tested]) for row in table.rows}
    assert images["glyph l"] == (2, 40)
    assert images["glyph k"] == (1, 40)
    assert images["glyph a"] == (0, 40)
    assert table.note.startswith("Each seed: 3 training images, 480 test images. Accuracy")


def test_a_record_that_cannot_be_read_leaves_the_test_images(trained_study: Path):
    (trained_study / f"shots/tasks-{HASH}.jsonl").write_text("{")
    table, _ = tables_of(trained_study)
    assert (column(table, "trained on"), column(table, "tested on")) == ({None}, {40})
    assert table.note.startswith("Scored on 480 test images. ")


def test_a_class_of_another_dataset_is_not_said_to_be_trained(trained_study: Path):
    board = board_of(trained_study)
    target = replace(board.entries[0], dataset_scores={"accuracy": board.entries[0].test})
    elsewhere = replace(board, entries=(target, *board.entries))
    assert column(class_accuracy_table(elsewhere), "trained on") == {None}


def test_the_part_of_the_test_images_is_told_where_there_are_several(
    few_shot_study: Path, base_to_new_study: Path
):
    for table in tables_of(few_shot_study):
        assert "part" not in table.header
        assert {len(row) for row in table.rows} == {len(table.header)}
    for table in tables_of(base_to_new_study):
        assert column(table, "part") == {"base", "new"}


def test_the_map_is_what_was_kept(trained_study: Path, as_kept: AsKept):
    (chart,) = charts_of(trained_study)
    assert chart.panels[0].y.names == list(CLASSES), "the dataset's first is at the top"
    as_kept("confusions", text_of(chart))


def test_a_hundred_classes_are_drawn_small_and_named_at_the_side(few_shot_study: Path):
    names = [f"a class with a long name {n:03}" for n in range(100)]
    random = np.random.default_rng(1)
    for seed in range(1, 6):
        trial = few_shot_study / f"trials/test-best-seed{seed}"
        predictions = [
            Prediction("text", "accuracy", f"{n}.png", names[n % 100], names[int(guess)], 0.5)
            for n, guess in enumerate(random.integers(0, 100, 3000))
        ]
        (trial / "predictions.parquet").write_bytes(predictions_to_parquet(predictions))
    (chart,) = charts_of(few_shot_study)
    svg = draw(chart, "svg")
    assert len(svg) < 100_000
    found = ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(TEXT)]
    assert sum(word.startswith("a class with a long nam") for word in found) == 100
    assert not [word for word in found if word.isdecimal() or word == "<1"]
    assert "Columns are in the order of the rows." in chart.caption
    recalls = recall_chart(board_of(few_shot_study))
    assert len(recalls.panels[0].series[0].x) == 20
    assert recalls.caption.startswith("The other 80 are in the table of classes.")


def test_where_there_is_no_winner_the_columns_are_of_the_choice(guessing_study: Path):
    for table in tables_of(guessing_study):
        assert "choice %" in table.header


def test_without_a_choice_there_is_no_map(untested_study: Path):
    assert charts_of(untested_study) == []
