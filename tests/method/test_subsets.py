from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from study.backbones.architecture import ENCODERS, FAMILIES, Depths, Encoder, Family
from study.errors import SubsetError
from study.method import parameters
from study.method.subsets import (
    Term,
    is_in_blocks,
    list_sites,
    parse,
    site_names,
    tensors_by_name,
)

DEPTHS = Depths(text=12, vision=12)
UNEVEN = Depths(text=2, vision=3)
CASES = yaml.safe_load(Path(__file__).with_name("subsets.yaml").read_text())
SLICES = [None, (0, None), (0, 1), (3, 9), (11, None), (-12, None), (-5, -2), (-1, None)]
"""Layers of which an encoder of twelve has some."""


@pytest.mark.parametrize("text, canonical, count", CASES["valid"])
def test_an_expression_has_one_canonical_form_and_resolves(
    text: str, canonical: str | None, count: int | None
):
    subset = parse(text)
    if canonical is not None:
        assert str(subset) == canonical
    assert parse(str(subset)) == subset
    if count is not None:
        assert len(subset.resolve(UNEVEN)) == count


@pytest.mark.parametrize("text, named", [*CASES["invalid"], *CASES["unresolvable"]])
def test_an_invalid_expression_is_named_with_what_is_allowed(text: str, named: list[str]):
    with pytest.raises(SubsetError) as caught:
        parse(text).resolve(UNEVEN)
    for part in named:
        assert part in str(caught.value)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_names_come_in_the_order_of_the_documentation(encoder: Encoder):
    """The canonical form sorts by it, so that a change would give known subsets other names."""
    names = CASES["names"][encoder]
    assert [*site_names(encoder)] == names["all"]
    assert [*list_sites(encoder, "clip")] == names["sites of CLIP"]


def test_a_difference_that_needs_brackets_is_refused():
    part = parse("text.bias - text.mlp.bias")
    with pytest.raises(SubsetError, match=r"text\.bias - text\.mlp\.bias.*contains '-'"):
        parse("text.bias") - part


@st.composite
def terms(draw: st.DrawFn, family: Family) -> str:
    """A term that a model of the family has."""
    encoder = draw(st.sampled_from(ENCODERS))
    rows = tensors_by_name(encoder, parameters.SITES)
    has = [name for name in rows if any(family in row.families for row, _ in rows[name])]
    site = draw(st.sampled_from(has))
    layers = draw(st.sampled_from(SLICES)) if is_in_blocks(f"{encoder}.{site}") else None
    return str(Term(encoder, site, layers))


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(st.data())
def test_adding_and_subtracting_subsets_is_that_of_sets(family: Family, data: st.DataObject):
    several = st.lists(terms(family), min_size=1, max_size=4)
    left, right = data.draw(several), data.draw(several)
    a, b, depths = parse(" + ".join(left)), parse(" + ".join(right)), Depths(12, 12, family)
    both = parse(f"{a} + {b}")
    assert both == parse(" + ".join([*right, *left, *right]))
    assert both.resolve(depths) == a.resolve(depths) | b.resolve(depths)
    if all(a.resolve(depths) & parse(term).resolve(depths) for term in right):
        difference = a - b
        assert difference.resolve(depths) == a.resolve(depths) - b.resolve(depths)
        assert parse(str(difference)) == difference
