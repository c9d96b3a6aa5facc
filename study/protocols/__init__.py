"""The protocols of a study; a class each says what is trained, chosen, scored and shown."""

from collections.abc import Mapping

from study.config.plugins import find_object
from study.protocols.base_to_new import BaseToNew, Generalized, hmean
from study.protocols.few_shot import FewShot, Transfer, ZeroShot
from study.protocols.protocol import Protocol, Rule

__all__ = [
    "PROTOCOLS",
    "BaseToNew",
    "FewShot",
    "Generalized",
    "Protocol",
    "Rule",
    "Transfer",
    "ZeroShot",
    "find_protocol",
    "hmean",
]

PROTOCOLS: Mapping[str, type[Protocol]] = {
    protocol.name: protocol for protocol in (FewShot, BaseToNew, Generalized, Transfer, ZeroShot)
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol of a name; see `study.config.plugins.find_object`.

    An entry point of an installed package may name the class or an instance.

    Raises:
        ConfigError: there is no such protocol.
    """
    protocol = find_object("protocols", name, PROTOCOLS)
    return protocol() if isinstance(protocol, type) else protocol
