"""Objects of other packages by name: protocols, samplers and trackers.

A configuration is shared, so it names such an object and never says where its code is. The name is
looked up among the objects of this package and among the entry points of installed packages (groups
``clipfit_study.protocols``, ``clipfit_study.samplers`` and ``clipfit_study.trackers``).
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from study.errors import ConfigError, did_you_mean

T = TypeVar("T")


def find_object(group: str, name: str, built_in: Mapping[str, Callable[[], T]]) -> T:
    """Return the object of a name.

    Args:
        group: the kind of object in the plural, such as ``samplers``.
        name: the name in the configuration.
        built_in: this package's objects by name, each as a function that returns it.

    Raises:
        ConfigError: nothing has that name, or an installed package cannot be imported.
    """
    if name in built_in:
        return built_in[name]()
    installed = {point.name: point for point in entry_points(group=f"clipfit_study.{group}")}
    if name not in installed:
        allowed = [*built_in, *installed]
        hint = did_you_mean(name, allowed)
        raise ConfigError(f"'{name}' is unknown{hint}; expected one of {', '.join(allowed)}")
    try:
        loaded: T = installed[name].load()
    except Exception as error:  # another package's code, which may raise anything
        raise ConfigError(f"'{name}' cannot be loaded from its package: {error!r}") from error
    return loaded
