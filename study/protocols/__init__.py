"""The protocols of a study: a class each, which says what is trained, chosen, scored and shown."""

from collections.abc import Iterator, Mapping

from study.config.plugins import find_object
from study.config.schema import StudyConfig
from study.protocols.base_to_new import BaseToNew, Generalized
from study.protocols.competition import Competition, hmean
from study.protocols.few_shot import FewShot, Transfer, ZeroShot
from study.protocols.protocol import Protocol, Rule

__all__ = [
    "PROTOCOLS",
    "BaseToNew",
    "Competition",
    "FewShot",
    "Generalized",
    "Protocol",
    "Rule",
    "Transfer",
    "ZeroShot",
    "disagreements",
    "hmean",
    "named",
]

PROTOCOLS: Mapping[str, type[Protocol]] = {
    protocol.name: protocol for protocol in (FewShot, BaseToNew, Generalized, Transfer, ZeroShot)
}


def named(name: str, given: Protocol | None = None) -> Protocol:
    """Return the protocol of a name; see `study.config.plugins.find_object`.

    An entry point of an installed package may name the class or an instance.

    Raises:
        ConfigError: there is none.
    """
    found = find_object("protocols", name, PROTOCOLS, given)
    return found() if isinstance(found, type) else found


def disagreements(config: StudyConfig, protocol: Protocol) -> Iterator[str]:
    """Yield the faults that depend on the protocol, each beginning with a path."""
    if protocol.targets == "refused" and config.data.targets:
        yield (
            f"data.targets: {protocol.name} has no use for them; allowed with the protocols "
            f"{' and '.join(n for n, other in PROTOCOLS.items() if other.targets != 'refused')}"
        )
    if config.ablation is not None and not protocol.ablates:
        yield (
            f"ablation: cannot be of {protocol.name}; allowed are "
            f"{', '.join(name for name, other in PROTOCOLS.items() if other.ablates)}"
        )
    yield from protocol.disagreements(config)
