from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import study
from study.errors import ConfigError, DataError


def test_an_image_in_any_form_has_the_same_probabilities(runs: Path, tmp_path: Path):
    model = study.load_model("mine", storage=runs)
    image, file = Image.linear_gradient("L"), tmp_path / "a.png"
    image.save(file)
    forms = (image, np.asarray(image), tmp_path, [file, image])
    tables = [model.predict(form) for form in forms]
    expected = tables[0].probabilities[0]
    assert [*expected] == list(model.class_names)
    for table in tables:
        for row in table.itertuples():
            assert row.probabilities == pytest.approx(expected, abs=1e-6)
            assert row.probability == row.probabilities[row.class_name]
            assert row.probability == max(row.probabilities.values())
    assert [[*table.index] for table in tables[2:]] == [[str(file)], [str(file), 1]]


def test_what_is_no_model_or_no_image_is_refused(runs: Path):
    with pytest.raises(ConfigError, match=r"no study 'yours' .* studies there: 'mine'"):
        study.load_model("yours", storage=runs)
    with pytest.raises(DataError, match=r"no such image or folder: .gone\.png"):
        study.load_model("mine", storage=runs).predict("gone.png")
