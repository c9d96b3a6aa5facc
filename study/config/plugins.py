"""Objects of other packages by name: protocols, samplers and trackers.

A configuration is shared, so it names such an object and never says where its code is. The name is
found among this package's own, among the entry points of installed packages (groups
``clipfit_study.protocols``, ``clipfit_study.samplers`` and ``clipfit_study.trackers``), or it is
that of the object which was handed to `study.workflow.run_study.run_study`.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from study.errors import ConfigError, did_you_mean

T = TypeVar("T")


def find_object(
    what: str, name: str, own: Mapping[str, Callable[[], T]], given: T | None = None
) -> T:
    """Return the object of a name.

    Args:
        what: the plural of what is looked for, such as ``samplers``.
        name: the name in the configuration.
        own: this package's objects by name, each as a function that returns it.
        given: the object that was handed over; its ``name``, or that of a function, must be the one
            in the configuration.

    Raises:
        ConfigError: nothing has that name, or an installed package cannot be imported.
    """
    if given is not None:
        known = str(getattr(given, "name", None) or getattr(given, "__name__", ""))
        if known != name:
            raise ConfigError(f"'{name}' is named, but '{known}' of the {what} was handed over")
        return given
    if name in own:
        return own[name]()
    installed = {point.name: point for point in entry_points(group=f"clipfit_study.{what}")}
    if name not in installed:
        allowed = [*own, *installed]
        hint = did_you_mean(name, allowed)
        raise ConfigError(f"'{name}' is unknown{hint}; allowed are {', '.join(allowed)}")
    try:
        return installed[name].load()
    except Exception as error:  # another package's code, which may raise anything
        raise ConfigError(f"'{name}' of an installed package does not load: {error!r}") from error
