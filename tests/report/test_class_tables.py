"""What images are taken for is reported class by class, and drawn for few classes and for many."""

from pathlib import Path

import numpy as np

from study.report.class_tables import (
    class_accuracy_table,
    confusion_table,
    recall_chart,
)
from study.report.tables import Table
from study.results.study_result import read_study_result
from study.trial.study import Prediction
from tests.example_studies import ExampleStudy


def tables_of(folder: Path) -> tuple[Table, Table]:
    board = read_study_result(folder)
    return class_accuracy_table(board), confusion_table(board)


def column(table: Table, name: str) -> set[object]:
    return {row[table.header.index(name)] for row in table.rows}


def test_each_class_has_its_numbers_of_images(trained_study: Path):
    table, _ = tables_of(trained_study)
    trained, tested = (table.header.index(f"{name} on") for name in ("trained", "tested"))
    images = {row[0]: (row[trained], row[tested]) for row in table.rows}
    assert images["glyph l"] == (2, 40)
    assert images["glyph k"] == (1, 40)
    assert images["glyph a"] == (0, 40)
    assert "3 training images and 480 test images" in table.note


def test_the_part_of_the_test_images_is_reported_where_there_are_several(
    few_shot_study: Path, base_to_new_study: Path
):
    for table in tables_of(few_shot_study):
        assert "part" not in table.header
        assert {len(row) for row in table.rows} == {len(table.header)}
    for table in tables_of(base_to_new_study):
        assert column(table, "part") == {"base", "new"}


def test_of_a_hundred_classes_the_worst_are_drawn(few_shot_study: Path):
    names = [f"a class with a long name {n:03}" for n in range(100)]
    guesses = np.random.default_rng(1).integers(0, 100, 3000)
    predictions = [
        Prediction("text", "accuracy", f"{n}.png", names[n % 100], names[int(guess)], 0.5)
        for n, guess in enumerate(guesses)
    ]
    for seed in range(1, 6):
        ExampleStudy(few_shot_study).predict(f"test-best-seed{seed}", predictions)
    (axes,) = recall_chart(read_study_result(few_shot_study)).figure.axes
    assert len(axes.patches) == 20


def test_before_a_test_there_is_nothing_to_show(untested_study: Path):
    assert [table.rows for table in tables_of(untested_study)] == [[], []]
