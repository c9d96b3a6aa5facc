"""Whatever text stands for a subset: the same subset when it is printed and read, or one error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.backbones.architecture import Depths
from study.method.subsets import PRESETS, parse, site_names

from .conftest import few_cases, study_errors_allowed

pytestmark = pytest.mark.timeout(1800)

NAMES = [f"{encoder}.{site}" for encoder in ("text", "vision") for site in site_names(encoder)]
LAYERS = ["", "[0]", "[-1]", "[0:2]", "[1:]", "[:-1]", "[:]", "[ 1 : 2 ]", "[9:]", "[0:0]"]
ODD = [
    *(" + ", " - ", "+", "-", " ", "\n", "\t", "\u00a0", "--", "é", "\0", "\ud800"),
    *("[", "]", "[]", "[1,2]", "[٣]", "[²]", "[" + "9" * 30 + "]", "[::2]", "[2:-2]"),
    *("a" * 5000, "text.", "TEXT.ln", "text.attn.k.bias"),
]
terms = st.builds(str.__add__, st.sampled_from([*NAMES, *PRESETS]), st.sampled_from(LAYERS))
pieces = terms | st.sampled_from(ODD) | st.text(max_size=4)


@few_cases()
@given(st.lists(pieces, max_size=9).map("".join) | st.lists(terms, max_size=9).map(" + ".join))
def test_any_text_is_a_subset_that_reads_back_or_one_reported_error(text: str):
    with study_errors_allowed():
        subset = parse(text)
        assert parse(str(subset)) == subset
        subset.resolve(Depths(text=2, vision=3))
