"""The subset language: which of CLIP's own parameters a trial tunes.

``text.mlp.fc2.bias + vision.ln`` is CLIPFit. A term is ``encoder.site[layers]``; README.md lists
the sites and groups, which follow from the table in `study.method.parameters`. A group means the
sites of it that a model has. As in Python, a slice of layers is cut to the model's depth, and a
term with layers leaves out the sites outside the blocks: ``vision.ln[0:12]`` has neither ``ln_pre``
nor ``ln_post``. From left to right, ``+`` adds a term and ``-`` takes one away. A preset name
stands for its expression; see `PRESETS`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from study.backbones.architecture import ENCODERS, Depths, Encoder, Family
from study.errors import SubsetError, did_you_mean
from study.method import parameters
from study.method.parameters import ParameterTensor, Site

PRESETS = {
    "none": "",
    "clipfit": "text.mlp.fc2.bias + vision.ln",
    # As in Ben Zaken et al. (2022), the biases of LayerNorms belong to BitFit.
    "bitfit": "text.bias + text.ln.bias + vision.bias + vision.ln.bias",
    "ln": "text.ln + vision.ln",
    "text-bias": "text.bias",
    "vision-ln": "vision.ln",
}


SiteTensors = list[tuple[Site, str]]
"""Tensors in a block or around the blocks, with their rows."""


@dataclass(frozen=True)
class Term:
    """One term of a subset expression, ``encoder.site[start:stop]``."""

    encoder: Encoder
    site: str
    """The name of a site or group; see `site_names`."""
    layers: tuple[int, int | None] | None = None
    """The start and stop of the slice; a stop of None means the end. None without a slice."""

    def __str__(self) -> str:
        layers = ""
        if self.layers is not None:
            start, stop = self.layers
            layers = f"[{start}:]" if stop is None else f"[{start}:{stop}]"
        return f"{self.encoder}.{self.site}{layers}"

    @property
    def tensors(self) -> SiteTensors:
        """The tensors that the term names in a block or around the blocks, with their rows."""
        return tensors_by_name(self.encoder, parameters.SITES)[self.site]

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of parameter that the term names."""
        return frozenset(row.kind.name for row, _ in self.tensors)

    def resolve(self, depths: Depths) -> frozenset[ParameterTensor]:
        """Return the tensors that the term names in a model of these depths.

        Raises:
            SubsetError: the model has no such site, or the slice selects no layer.
        """
        family = depths.family
        depth = getattr(depths, self.encoder)
        rows = [(row, name) for row, name in self.tensors if family in row.families]
        if not rows:
            sites = ", ".join(list_sites(self.encoder, family))
            raise SubsetError(
                f"{self} is not a site of a '{family}' model; the sites of its {self.encoder} "
                f"encoder are {sites}"
            )
        layers = range(depth)
        if self.layers is not None:
            start, stop = self.layers
            layers = layers[start:stop]
        tensors: set[ParameterTensor] = set()
        for row, name in rows:
            if row.in_blocks:
                tensors.update(
                    ParameterTensor(self.encoder, layer, row.name, name) for layer in layers
                )
            elif self.layers is None:
                tensors.add(ParameterTensor(self.encoder, None, row.name, name))
        if not tensors:
            raise SubsetError(
                f"{self} selects no layer; the {self.encoder} encoder has layers 0 to {depth - 1}"
            )
        return frozenset(tensors)


SignedTerm = tuple[int, Term]
"""A term with 1 if it adds to a subset, and -1 if it takes away."""


@dataclass(frozen=True)
class Subset:
    """A set of sites and layers that does not depend on a model's depths. `parse` makes one."""

    terms: tuple[SignedTerm, ...] = ()
    """The terms, applied from left to right; each has the sign +1 (add) or -1 (take away)."""

    def __str__(self) -> str:
        """Return the canonical form: ``parse(str(subset)) == subset``."""
        text = ""
        for sign, term in self.terms:
            text += f" + {term}" if sign > 0 else f" - {term}"
        if text.startswith(" + "):
            return text.removeprefix(" + ")
        return f"none{text}"

    def __sub__(self, other: Subset) -> Subset:
        """Return the difference.

        Raises:
            SubsetError: ``other`` takes terms away; the language has no brackets to write that.
        """
        if any(sign < 0 for sign, _ in other.terms):
            raise SubsetError(f"cannot subtract '{other}' from '{self}': it contains '-'")
        terms = list(self.terms)
        terms.extend((-1, term) for _, term in other.terms)
        return Subset(_normalise(terms))

    def resolve(self, depths: Depths) -> frozenset[ParameterTensor]:
        """Return the exact set of parameter tensors in a model of these depths.

        Raises:
            SubsetError: a term selects no layer, or takes nothing away.
        """
        tensors: frozenset[ParameterTensor] = frozenset()
        for sign, run in groupby(self.terms, key=lambda signed: signed[0]):
            resolved = {term: term.resolve(depths) for _, term in run}
            if sign > 0:
                tensors = tensors.union(*resolved.values())
                continue
            # Compare with the tensors before the whole run. A run is sorted, so an earlier term in
            # it may already take away all of a term that the user wrote before it.
            for term, removed in resolved.items():
                if not tensors & removed:
                    raise SubsetError(f"'- {term}' in '{self}' removes nothing")
            tensors = tensors.difference(*resolved.values())
        return tensors

    def key(self, depths: Depths) -> str:
        """Return 16 hexadecimal digits that are equal for subsets with equal tensors."""
        names = "\n".join(sorted(map(str, self.resolve(depths))))
        return hashlib.sha256(names.encode()).hexdigest()[:16]


def parse(text: str) -> Subset:
    """Read a subset expression or the name of a preset.

    Raises:
        SubsetError: a part cannot be read; the message names it and what is allowed there.
    """
    if not text.strip():
        raise SubsetError(f"subset is empty; expected a preset ({', '.join(PRESETS)}) or a term")
    terms = []
    unread = text.lstrip()
    sign = 1
    while sign:
        # A preset name may contain a hyphen, so it is tried before a hyphen means "take away".
        match = _PRESET.match(unread) or _TERM.match(unread)
        if not match:
            if not unread:
                raise SubsetError(f"subset '{text}': a term is missing at the end")
            raise SubsetError(
                f"subset '{text}': expected a term at '{unread[:30]}'; "
                f"a term is encoder.site[layers] or a preset: {', '.join(PRESETS)}"
            )
        unread = unread[match.end() :].lstrip()
        name = match["name"]
        if match.re is _TERM:
            terms.append((sign, _read_term(name, match["layers"], text)))
        elif unread.startswith("["):
            raise SubsetError(f"subset '{text}': the preset '{name}' takes no layers")
        elif PRESETS[name]:
            for inner_sign, term in parse(PRESETS[name]).terms:
                terms.append((sign * inner_sign, term))
        symbol = unread[:1]
        if symbol not in _SIGNS:
            raise SubsetError(f"subset '{text}': expected '+' or '-' at '{unread[:30]}'")
        sign = _SIGNS[symbol]
        unread = unread[1:].lstrip()
    return Subset(_normalise(terms))


def kinds(tensors: Iterable[ParameterTensor]) -> frozenset[str]:
    """Return the kinds of parameter in a set; each kind has a learning rate of its own."""
    return frozenset(tensor.kind for tensor in tensors)


_SIGNS = {"+": 1, "-": -1, "": 0}
_LONGEST_FIRST = sorted(PRESETS, key=len, reverse=True)
_PRESET = re.compile(rf"(?P<name>{'|'.join(_LONGEST_FIRST)})(?![\w.])")
_TERM = re.compile(r"(?P<name>[A-Za-z_][\w.]*)(?P<layers>\s*\[[^\]]*\])?")
_LAYERS = re.compile(r"\s*\[\s*(?:(-?\d{1,6})?\s*(:)\s*(-?\d{1,6})?|(-?\d{1,6}))\s*\]")


def _read_term(name: str, layers: str | None, text: str) -> Term:
    encoder, _, site = name.partition(".")
    if encoder not in ENCODERS:
        hint = did_you_mean(name.lower(), [*PRESETS, *ENCODERS])
        raise SubsetError(
            f"subset '{text}': unknown name '{name}'{hint}; "
            f"expected a preset ({', '.join(PRESETS)}) or an encoder (text, vision)"
        )
    if site == "attn.k.bias":
        raise SubsetError(
            f"subset '{text}': {name} has no effect: a key bias adds the same number to all "
            "attention scores of a query, so its gradient is zero; use attn.q, attn.v or attn.out"
        )
    allowed = site_names(encoder)
    if site not in allowed:
        hint = did_you_mean(site.lower(), allowed)
        raise SubsetError(
            f"subset '{text}': '{name}' is not a site of the {encoder} encoder"
            f"{hint}; its sites are {', '.join(allowed)}"
        )
    if not layers:
        return Term(encoder, site)
    bounds = _read_layers(layers, text)
    if not is_in_blocks(name):
        raise SubsetError(f"subset '{text}': {name} is outside the blocks and takes no layers")
    return Term(encoder, site, bounds)


def _read_layers(layers: str, text: str) -> tuple[int, int | None]:
    match = _LAYERS.fullmatch(layers)
    if not match:
        raise SubsetError(
            f"subset '{text}': layers are '{layers.strip()}'; expected a slice such as [0:4] or "
            "[-2:], or an index such as [3]"
        )
    first, colon, last, single = match.groups()
    if not colon:
        index = int(single)
        if index == -1:  # a stop of 0 would mean an empty slice
            return index, None
        return index, index + 1
    start = int(first or 0)
    if last is None:
        return start, None
    stop = int(last)
    # Ends of one sign show whether a slice is empty at any depth. With ends of both signs, such as
    # [2:-2], that depends on the depth, so `Term.resolve` checks it.
    have_one_sign = (start >= 0) == (stop >= 0)
    if stop == 0 or (have_one_sign and start >= stop):
        raise SubsetError(f"subset '{text}': layers '{layers.strip()}' select no layer")
    return start, stop


def site_names(encoder: Encoder) -> tuple[str, ...]:
    """List every site and group name of an encoder, in the order of the documentation."""
    return tuple(tensors_by_name(encoder, parameters.SITES))


def list_sites(encoder: Encoder, family: Family) -> tuple[str, ...]:
    """List the names of an encoder's sites, without groups and without a LayerNorm's halves."""
    with_one_tensor = []
    with_several = []
    for row in parameters.SITES:
        if encoder in row.encoders and family in row.families:
            if len(row.tensors) == 1:
                with_one_tensor.append(f"{row.name}.{row.tensors[0]}")
            else:
                with_several.append(row.name)
    return (*with_one_tensor, *with_several)


def is_in_blocks(name: str) -> bool:
    """Return whether ``encoder.site`` has tensors in the blocks, which a slice of layers limits."""
    encoder, _, site = name.partition(".")
    return any(row.in_blocks for row, _ in tensors_by_name(encoder, parameters.SITES)[site])


@cache
def tensors_by_name(encoder: Encoder, sites: tuple[Site, ...]) -> dict[str, SiteTensors]:
    """Return the tensors that each site or group name of an encoder means, with their rows."""
    pairs = [(row, tensor) for row in sites if encoder in row.encoders for tensor in row.tensors]
    by_name: dict[str, SiteTensors] = {}
    for is_single, form in (  # whether a tensor is its site's only one, and a name that it has then
        (True, "{site.name}.{tensor}"),
        (False, "{site.name}"),
        (False, "{site.kind.name}"),
        (True, "{site.kind.name}"),
        (True, "{module}.{tensor}"),
        (False, "{site.name}.{tensor}"),
        (False, "{site.kind.name}.{tensor}"),
    ):
        for site, tensor in pairs:
            if (len(site.tensors) == 1) == is_single:
                module, _, _ = site.name.partition(".")
                name = form.format(site=site, tensor=tensor, module=module)
                by_name.setdefault(name, []).append((site, tensor))
    return by_name


def _normalise(terms: list[SignedTerm]) -> tuple[SignedTerm, ...]:
    """Sort and deduplicate each run of equal signs, in which the order does not change the set."""
    normalised: list[SignedTerm] = []
    for _, run in groupby(terms, key=lambda signed: signed[0]):
        normalised += sorted(set(run), key=lambda signed: _reading_order(signed[1]))
    return tuple(normalised)


def _reading_order(term: Term) -> tuple[object, ...]:
    start, stop = term.layers or (0, None)
    if stop is None:
        stop = 1_000_000
    site = site_names(term.encoder).index(term.site)
    return term.encoder, site, term.layers is not None, start, stop
