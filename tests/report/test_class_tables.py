"""What images are taken for is reported class by class, and drawn for few classes and for many."""

from pathlib import Path

from study.report.class_tables import class_accuracy_table, confusion_table, recall_chart
from study.report.tables import Table
from study.results.study_result import read_study_result
from tests.example_studies import ExampleStudy, predictions_of


def tables_of(folder: Path) -> tuple[Table, Table]:
    result = read_study_result(folder)
    return class_accuracy_table(result), confusion_table(result)


def test_each_class_has_its_numbers_of_images(trained_study: Path):
    table, _ = tables_of(trained_study)
    trained, tested = (table.header.index(f"{name} on") for name in ("trained", "tested"))
    images = {row[0]: (row[trained], row[tested]) for row in table.rows}
    assert [images[f"glyph {name}"] for name in "lka"] == [(2, 40), (1, 40), (0, 40)]
    assert "3 training images and 480 test images" in table.note
    ExampleStudy(trained_study).drop("test-*")
    assert [table.rows for table in tables_of(trained_study)] == [[], []]


def test_the_part_of_the_test_images_is_reported_where_there_are_several(
    few_shot_study: Path, base_to_new_study: Path
):
    for table in tables_of(few_shot_study):
        assert "part" not in table.header
        assert {len(row) for row in table.rows} == {len(table.header)}
    for table in tables_of(base_to_new_study):
        assert {row[table.header.index("part")] for row in table.rows} == {"base", "new"}


def test_of_a_hundred_classes_the_worst_are_drawn(few_shot_study: Path):
    names = [f"a class with a long name {n:03}" for n in range(100)]
    counts = [[int(true == other or true < 30) for other in range(100)] for true in range(100)]
    study = ExampleStudy(few_shot_study)
    for seed in range(1, 6):
        study.predict(f"test-best-seed{seed}", predictions_of("accuracy", names, counts))
    (axes,) = recall_chart(read_study_result(few_shot_study)).figure.axes
    assert [round(bar.get_width(), 6) for bar in axes.patches] == [1.0] * 20
