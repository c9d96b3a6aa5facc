"""Whatever text stands for a subset: the same subset when it is printed and read, or one error."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.backbones.architecture import Depths
from study.errors import SubsetError
from study.method.subsets import PRESETS, parse, site_names

pytestmark = pytest.mark.timeout(1800)

DEPTHS = Depths(text=2, vision=3)
LAYERS = ["", "[0]", "[-1]", "[0:2]", "[1:]", "[:-1]", "[:]", "[ 1 : 2 ]", "[9:]", "[0:0]"]
ODD = ["[", "]", "[]", "[1,2]", "[٣]", "[²]", "[" + "9" * 30 + "]", "[::2]", "[2:-2]", "--", "é"]
names = st.sampled_from([f"{e}.{site}" for e in ("text", "vision") for site in site_names(e)])
terms = st.builds(str.__add__, names | st.sampled_from([*PRESETS]), st.sampled_from(LAYERS))
pieces = st.one_of(
    terms,
    terms,
    st.sampled_from([" + ", " - ", "+", "-", " ", "\n", "\t", "\u00a0"]),
    st.sampled_from([*ODD, "a" * 5000, "text.", "TEXT.ln", "text.attn.k.bias", "\0", "\ud800"]),
    st.text(max_size=4),
)


@settings(deadline=None)
@given(st.lists(pieces, max_size=9).map("".join) | st.lists(terms, max_size=9).map(" + ".join))
def test_any_text_is_a_subset_that_reads_back_or_one_told_error(text: str) -> None:
    with suppress(SubsetError):
        subset = parse(text)
        assert parse(str(subset)) == subset
        subset.resolve(DEPTHS)
