"""Sets of test images vary as samples do, and few images are never sure."""

from collections.abc import Sequence

import numpy as np
import pytest

from study.protocols import BaseToNew, FewShot, Generalized, Protocol
from study.results import bootstrap
from study.results.bootstrap import Rescored, Scored, rescore
from study.trial.predictions import Outcomes

BEST: Scored = "best", 1, "text"
Right = dict[tuple[str, str], list[bool]]


@pytest.fixture(autouse=True)
def _draws(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 20_000)


def drawn(right: Right, protocol: Protocol | None = None) -> dict[str, Rescored]:
    """The scores of one trial that is right on these images."""
    outcomes = Outcomes("hash", {stratum: tuple(own) for stratum, own in right.items()})
    return rescore({BEST: outcomes}, protocol or FewShot()).get(BEST, {})


def hits(right: int, images: int) -> list[bool]:
    return [True] * right + [False] * (images - right)


@pytest.mark.parametrize("right, images", [(60, 60), (0, 30), (270, 300)])
def test_a_score_varies_as_if_two_more_images_were_right_and_two_wrong(right: int, images: int):
    found = drawn({("accuracy", "a"): hits(right, images)})["score"]
    share = (right + 2) / (images + 4)
    assert found.alone.var() == pytest.approx(share * (1 - share) / (images + 4), rel=0.05)
    assert found.alone.mean() == pytest.approx(share, rel=0.01)
    assert found.df == images - 1


@pytest.mark.parametrize("of_class", [True, False])
def test_groups_of_equal_images_vary_as_one_image_each_does(of_class: bool):
    classes = ("a", "b")
    alone = {("accuracy", name): tuple(hits(12, 20)) for name in classes}
    copies = {stratum: tuple(np.repeat(own, 5).tolist()) for stratum, own in alone.items()}
    names = {stratum: tuple(np.repeat(range(20), 5).astype(str)) for stratum in alone}
    if not of_class:  # where all classes are drawn together, a name is one group in all of them
        names = {key: tuple(key[1] + name for name in own) for key, own in names.items()}
    scores = []
    for outcomes in (Outcomes("hash", alone), Outcomes("hash", copies, groups=names)):
        found = rescore({BEST: outcomes}, FewShot(), balanced=of_class)
        scores.append(found[BEST]["score"])
    assert scores[0].df == scores[1].df
    np.testing.assert_allclose(scores[0].alone, scores[1].alone, rtol=1e-6)


@pytest.mark.parametrize(
    "classes, units, df",
    [
        pytest.param([[10] * 8], 8, 7, id="equal groups"),
        pytest.param([[40, 40, 10, 5, 5, 1, 1, 1]], 3, 2.164, id="large groups"),
        pytest.param([[1] * 30] * 3, 90, 87, id="equal classes"),
        pytest.param([[1] * 300, [1] * 5], 20, 4.134, id="a small class"),
        pytest.param([[1] * 2, *[[1] * 200] * 3], 31, 1.061, id="a tiny class"),
    ],
)
def test_a_mean_is_as_sure_as_large_groups_and_small_classes_let_it_be(
    classes: list[Sequence[int]], units: int, df: float
):
    """Classes are lists of the sizes of their groups."""
    strata = {("accuracy", f"{number}"): sizes for number, sizes in enumerate(classes)}
    right = {stratum: (True,) * sum(sizes) for stratum, sizes in strata.items()}
    groups = {
        stratum: tuple(np.repeat(range(len(sizes)), sizes).astype(str))
        for stratum, sizes in strata.items()
    }
    outcomes = Outcomes("hash", right, groups=groups)
    found = rescore({BEST: outcomes}, FewShot(), balanced=True)[BEST]["score"]
    # All images are right, so that the pseudo-images alone vary.
    assert found.alone.var() == pytest.approx((units + 2) * 2 / (units + 4) ** 3, rel=0.06)
    assert found.df == pytest.approx(df, rel=1e-3)


def test_parts_are_drawn_by_themselves_and_need_two_images_of_what_counts_alone():
    found = drawn({("base", "a"): hits(40, 50), ("new", "b"): hits(10, 20)}, BaseToNew())
    assert (found["base"].df, found["new"].df, found["score"].df) == (49, 19, 19)
    right = {("base", "a"): hits(1, 1), ("base", "b"): hits(3, 4), ("new", "c"): hits(3, 4)}
    assert drawn(right, Generalized()) == {}, "here a class counts alone"
    assert drawn(right, BaseToNew())["score"].df == 3, "here a part counts as a whole"
