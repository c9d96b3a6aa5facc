import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from study.backbones.architecture import ENCODERS, FAMILIES, Depths, Family
from study.errors import SubsetError
from study.method import parameters
from study.method.subsets import (
    PRESETS,
    Term,
    is_in_blocks,
    kinds,
    list_sites,
    parse,
    site_names,
    tensors_by_name,
)

DEPTHS = Depths(text=12, vision=12)
UNEVEN = Depths(text=2, vision=3)
CASES = yaml.safe_load(Path(__file__).with_name("subsets.yaml").read_text())
OF: dict[Family, Depths] = {family: Depths(12, 12, family) for family in FAMILIES}


@pytest.mark.parametrize(("text", "canonical", "count"), CASES["valid"])
def test_an_expression_has_one_canonical_form_and_resolves(
    text: str, canonical: str | None, count: int | None
) -> None:
    subset = parse(text)
    if canonical is not None:
        assert str(subset) == canonical
    assert parse(str(subset)) == subset
    if count is not None:
        assert len(subset.resolve(UNEVEN)) == count


@pytest.mark.parametrize(("text", "named"), CASES["invalid"])
def test_what_cannot_be_read_is_named_with_what_is_allowed(text: str, named: list[str]) -> None:
    with pytest.raises(SubsetError) as caught:
        parse(text)
    for part in named:
        assert part in str(caught.value)


@pytest.mark.parametrize(("text", "named"), CASES["unresolvable"])
def test_a_term_without_effect_is_an_error_once_the_depth_is_known(
    text: str, named: list[str]
) -> None:
    subset = parse(text)
    with pytest.raises(SubsetError) as caught:
        subset.resolve(UNEVEN)
    for part in named:
        assert part in str(caught.value)


def test_a_slice_from_the_end_is_the_same_subset_as_one_from_the_start_of_a_known_depth() -> None:
    end, start = parse("text.mlp.fc2.bias[-2:]"), parse("text.mlp.fc2.bias[10:12]")
    assert end != start
    assert end.resolve(DEPTHS) == start.resolve(DEPTHS)
    assert end.key(DEPTHS) == start.key(DEPTHS)
    assert end.key(Depths(11, 12)) != parse("text.mlp.fc2.bias[10:12]").key(Depths(11, 12))


def test_every_layer_of_a_sliced_norm_leaves_out_the_norms_outside_the_blocks() -> None:
    sliced = parse("vision.ln[0:12]").resolve(DEPTHS)
    outside = parse("vision.ln_pre + vision.ln_post").resolve(DEPTHS)
    assert sliced | outside == parse("vision.ln").resolve(DEPTHS)
    assert not sliced & outside


def test_groups_leave_the_key_bias_out() -> None:
    for preset in PRESETS:
        assert not any("attn.k" in str(leaf) for leaf in parse(preset).resolve(DEPTHS))


def test_kinds_tell_biases_from_layer_norms() -> None:
    assert kinds(parse("none").resolve(DEPTHS)) == set()
    assert kinds(parse("text.bias").resolve(DEPTHS)) == {"bias"}
    assert kinds(parse("text.ln.bias").resolve(DEPTHS)) == {"ln"}
    assert kinds(parse("clipfit").resolve(DEPTHS)) == {"bias", "ln"}


def test_names_come_in_the_order_of_the_documentation() -> None:
    """The canonical form sorts by it, so that a change would give known subsets other names."""
    biases = ("attn.q.bias", "attn.v.bias", "attn.out.bias", "mlp.fc1.bias", "mlp.fc2.bias")
    pool = tuple(f"pool.{one}.bias" for one in ("q", "v", "out", "fc1", "fc2"))
    groups, halves = ("ln", "bias", "attn.bias", "mlp.bias"), ("weight", "bias")
    for encoder, norms, own_norms, own, own_groups in (
        ("text", ("ln1", "ln2", "ln_final"), (), ("proj.bias",), ()),
        ("vision", ("ln1", "ln2", "ln_pre", "ln_post"), ("pool.ln",), pool, ("pool.bias",)),
    ):
        every = (*norms, *own_norms)
        split = tuple(f"{norm}.{half}" for norm in (*every, "ln") for half in halves)
        assert site_names(encoder) == (  # type: ignore[arg-type]
            *biases, *own, *every, *groups, *own_groups, *split,
        )  # fmt: skip
        assert list_sites(encoder, "clip") == (*biases, *norms)  # type: ignore[arg-type]


def test_a_term_has_the_kinds_of_what_it_names() -> None:
    terms = {str(term): term for _, term in parse("bitfit + ln + vision.ln1.bias[2]").terms}
    assert {name: set(term.kinds) for name, term in terms.items()} == {
        **{name: {"bias"} for name in ("text.bias", "vision.bias")},
        **{name: {"ln"} for name in ("text.ln", "text.ln.bias", "vision.ln", "vision.ln.bias")},
        "vision.ln1.bias[2:3]": {"ln"},
    }


def test_a_difference_that_needs_brackets_is_refused() -> None:
    part = parse("text.bias - text.mlp.bias")
    with pytest.raises(SubsetError, match=r"text\.bias - text\.mlp\.bias.*takes away"):
        parse("text.bias") - part


def slices(depth: int) -> st.SearchStrategy[tuple[int, int | None] | None]:
    """Slices that select something in an encoder of a depth."""
    ends = st.integers(0, depth - 1).flatmap(
        lambda start: st.tuples(st.just(start), st.integers(start + 1, depth) | st.none())
    )
    from_end = ends.map(
        lambda ends: (ends[0] - depth, ends[1] - depth if ends[1] and ends[1] < depth else None)
    )
    return st.none() | ends | from_end


@st.composite
def terms(draw: st.DrawFn, families: Sequence[Family] = FAMILIES) -> str:
    """A term that a model of each of these families has, or of any family if it is all of them."""
    encoder = draw(st.sampled_from(ENCODERS))
    rows = tensors_by_name(encoder, parameters.SITES)
    has = [n for n in rows if any(set(row.families) & {*families} for row, _ in rows[n])]
    site = draw(st.sampled_from(has))
    layers = draw(slices(12)) if is_in_blocks(f"{encoder}.{site}") else None
    return str(Term(encoder, site, layers))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    parts = draw(st.lists(terms() | st.sampled_from(sorted(PRESETS)), min_size=1, max_size=6))
    signs = [draw(st.sampled_from(["+", "-", " + ", " - ", "\n+ "])) for _ in parts[1:]]
    return parts[0] + "".join(sign + part for sign, part in zip(signs, parts[1:], strict=True))


@settings(deadline=None)
@given(expressions())
def test_the_canonical_form_reads_back_as_itself(text: str) -> None:
    subset = parse(text)
    assert parse(str(subset)) == subset
    assert str(parse(str(subset))) == str(subset)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(st.data(), st.randoms())
def test_the_order_and_number_of_joins_do_not_matter(
    family: Family, data: st.DataObject, order: random.Random
) -> None:
    parts, depths = data.draw(st.lists(terms([family]), min_size=1, max_size=6)), OF[family]
    shuffled = [*parts, parts[0]]
    order.shuffle(shuffled)
    subset = parse(" + ".join(parts))
    assert parse(" + ".join(shuffled)) == subset
    assert subset.resolve(depths) == frozenset().union(
        *(parse(part).resolve(depths) for part in parts)
    )


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(st.data())
def test_adding_and_subtracting_subsets_is_that_of_sets(
    family: Family, data: st.DataObject
) -> None:
    left, right = (data.draw(st.lists(terms([family]), min_size=1, max_size=4)) for _ in range(2))
    a, b, depths = parse(" + ".join(left)), parse(" + ".join(right)), OF[family]
    union = parse(f"{a} + {b}")
    assert union.resolve(depths) == a.resolve(depths) | b.resolve(depths)
    if all(a.resolve(depths) & parse(term).resolve(depths) for term in right):
        difference = a - b
        assert difference.resolve(depths) == a.resolve(depths) - b.resolve(depths)
        assert parse(f"{difference} + {b}").resolve(depths) == union.resolve(depths)


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("textvisionlnbias.[]:-+ 0123", max_size=40))
def test_any_text_is_a_subset_or_a_subset_error(text: str) -> None:
    try:
        subset = parse(text)
    except SubsetError:
        return
    assert parse(str(subset)) == subset
