"""The protocols of a study: a class each, which says what is trained, chosen, scored and shown."""

from study.protocols.base_to_new import BaseToNew
from study.protocols.few_shot import FewShot, Transfer, ZeroShot
from study.protocols.names import disagreements, named
from study.protocols.protocol import Protocol, Rule

__all__ = [
    "BaseToNew",
    "FewShot",
    "Protocol",
    "Rule",
    "Transfer",
    "ZeroShot",
    "disagreements",
    "named",
]
