"""What ``init`` proposes for a folder passes the schema and ``--check``, whatever its shape."""

import io
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from study.commands.main import main
from tests.config.test_json_schema import VALIDATOR

Shape = Mapping[str, tuple[int, ...]]
"""The number of images of each class, by the folder of class folders: a split's, or "."."""
LAYOUTS = ((".",), ("train", "test"), ("train", "val"), ("train", "val", "test"))
OPTIONS = ("backbone.name=embedded", "tracking.tracker=none")
sizes = st.integers(1, 9) | st.sampled_from([12, 16, 17, 20, 60, 150])


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Draw a layout, and the sizes of classes, which may be as unequal as they like."""
    classes = draw(st.integers(2, 4))
    shape = {}
    for folder in draw(st.sampled_from(LAYOUTS)):
        counts = draw(st.lists(sizes, min_size=classes, max_size=classes))
        # Without splits, an image of each class is for the test.
        shape[folder] = tuple(count + (folder == ".") for count in counts)
    return shape


@settings(deadline=None, max_examples=settings().max_examples // 20)
@given(shape=shapes(), per_group=st.sampled_from([None, 1, 2, 5]))
@example(shape={".": (16, 600)}, per_group=None)
@example(shape={"train": (16, 16), "test": (4, 4)}, per_group=None)
@example(shape={"train": (3, 150), "val": (1, 1), "test": (1, 9)}, per_group=None)
@example(shape={".": (12, 40)}, per_group=2)
def test_a_proposal_passes_the_schema_and_the_check(shape: Shape, per_group: int | None):
    options = [*OPTIONS]
    if per_group:
        options.append(r"data.groups=.*/\d+_")
    with TemporaryDirectory() as name, chdir(name):
        make_images(shape, per_group or 1)
        code, message = run("init", "photos", *options)
        assert code == 0 or per_group, message  # images may be of too few groups
        if code == 0:
            VALIDATOR.validate(yaml.safe_load(Path("study.yaml").read_text()))
            assert run("run", "study.yaml", "--check") == (0, "")


def run(*words: str) -> tuple[int, str]:
    """Carry out a command; return its exit code and the message of a fault."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        return main(words), errors.getvalue()


def make_images(shape: Shape, per_group: int):
    """Make the images, each named by its group and its number."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png")
    for folder, counts in shape.items():
        for label, count in enumerate(counts):
            class_folder = Path("photos", folder, f"class {label}")
            class_folder.mkdir(parents=True)
            for number in range(count):
                image = class_folder / f"{number // per_group}_{number}.png"
                image.write_bytes(file.getvalue())
