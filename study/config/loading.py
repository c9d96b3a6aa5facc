"""Load configurations from YAML and overrides, and report all faults of one at once.

A file with ``sweep`` stands for one study per combination of the values of its axes.
``exceptions`` set further values for some of these studies::

    sweep:
      data.dataset: [eurosat, food101]
      data.shots: [1, 16]
    exceptions:
      - for: {data.dataset: [food101]}
        set: {training.epochs: 10}

A folder stands for the studies of all its files.
"""

import copy
import itertools
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from study.config.rules import broken_rules
from study.config.schema import StudyConfig
from study.config.wording import (
    LONGEST,
    UNKNOWN_KEY,
    describe,
    faults_of,
    named_with,
    place_of,
    shown,
    texts_of_overrides,
)
from study.data.records import encoding_fault
from study.errors import ConfigError
from study.storage.file_format import FORMAT, KEY, refuse_other_format

MOST_FAULTS = 50
"""The largest number of faults in a message."""
OVERRIDES = "the overrides"
"""What is at fault if the file is not."""
AXES, EXCEPTIONS = "sweep", "exceptions"
DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
"""A whole number as people write it; YAML has octal, hexadecimal and other forms as well."""
MOST_STUDIES = 10_000
"""The largest number of studies that one file may make."""


class ConfigFaults(ConfigError):
    """All faults of a configuration, and the configuration without the faulty values."""

    def __init__(
        self,
        source: str,
        faults: Sequence[str],
        rest: StudyConfig | None,
        replaced: Sequence[str] = (),
    ) -> None:
        count = str(len(faults)) if len(faults) <= MOST_FAULTS else f"more than {MOST_FAULTS}"
        lines = "\n".join(f"  {fault}" for fault in faults[:MOST_FAULTS])
        verb = "have" if source == OVERRIDES else "has"
        super().__init__(f"{source} {verb} {count} fault{'s' if len(faults) > 1 else ''}:\n{lines}")
        self.source = source
        self.faults = list(faults)
        self.rest = rest
        """The configuration with defaults for the faulty values; None means too little is valid."""
        self.replaced = list(replaced)
        """The places of these defaults, section and field."""

    @property
    def has_unknown_key(self) -> bool:
        """Whether one of the faults is a key that does not exist."""
        return any(f": {UNKNOWN_KEY}; " in fault for fault in self.faults)


def load_config(
    source: Path, overrides: Iterable[str] = (), *, frozen: bool = False
) -> StudyConfig:
    """Read a YAML file and apply ``key.path=value`` overrides, whose values are YAML too.

    Args:
        source: the file.
        overrides: the overrides.
        frozen: whether it is of a study, and so must have a format number.

    Raises:
        ConfigError: if the file or an override is invalid; the message lists every fault of the
            configuration with its path.
    """
    given = list(overrides)
    values = read_values(source, frozen=frozen)
    return build_config(values, str(source), parse_overrides(given), texts_of_overrides(given))


def read_values(source: Path, *, frozen: bool = False) -> dict[str, Any]:
    """Read a YAML file that holds a mapping, without validating its values.

    Args:
        source: the file.
        frozen: whether it must have a format number; any file may have one.

    Returns:
        The values without the format number.

    Raises:
        ConfigError: if the file cannot be read, is not a YAML mapping or has another format; the
            message names it.
    """
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        fault = encoding_fault(error)
        raise ConfigError(f"configuration {source} cannot be read: {fault}") from error
    except OSError as error:
        raise ConfigError(f"configuration {source} cannot be read: {error}") from error
    values = _read_yaml(text, f"configuration {source} is") or {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"configuration {source} must be a mapping of sections, got {shown(values)}"
        )
    if frozen or KEY in values:
        refuse_other_format(source, values.pop(KEY, None), ConfigError)
    return _nested(values, f"configuration {source}")


def _nested(values: dict[Any, Any], what: str) -> dict[str, Any]:
    """Return values in which keys such as ``search.trials`` have become keys of sections.

    Raises:
        ConfigError: such a key sets what another key sets too.
    """
    dotted = {}
    nested = {}
    for key, value in values.items():
        if isinstance(key, str) and "." in key:
            dotted[key] = value
        else:
            nested[key] = value
    for key, value in dotted.items():
        if _is_set(nested, key):
            raise ConfigError(f"{what} sets '{key}' twice: with dots, and in its section")
        put_value(nested, key, value)
    return nested


def _is_set(values: Mapping[Any, Any], key: str) -> bool:
    """Return whether values have something at a dotted key."""
    inner: Any = values
    for part in key.split("."):
        if not isinstance(inner, Mapping) or part not in inner:
            return False
        inner = inner[part]
    return True


def _read_yaml(text: str, what: str) -> Any:
    """Read YAML.

    Args:
        text: the YAML.
        what: the beginning of the message, such as "configuration study.yaml is".

    Raises:
        ConfigError: if the text is not valid YAML.
    """
    try:
        return yaml.load(text, _SafeLoader)
    except _UnclearNumber as error:
        raise ConfigError(f"{what} not clear: {error}") from None
    except Exception as error:  # PyYAML raises many kinds, such as ValueError on 2001-02-30
        reason = str(error) if isinstance(error, yaml.YAMLError) else repr(error)
        raise ConfigError(f"{what} not valid YAML: {reason[:1000]}") from error


class _UnclearNumber(ValueError):
    """A number in a form that hardly anybody means, such as 010, which is 8 to YAML."""


class _SafeLoader(yaml.SafeLoader):
    """A safe loader that rejects what PyYAML would silently take for something else.

    These are repeated keys, of which PyYAML keeps the last, and numbers of another base than ten.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping, or raise ConstructorError if a key is repeated."""
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        keys = Counter(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode))
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{repeated[0]}' is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Construct a whole number, or raise _UnclearNumber if it is not a plain decimal one."""
        value = super().construct_yaml_int(node)
        if DECIMAL.fullmatch(node.value) is None:
            raise _unclear(node, value)
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """Construct a number, or raise _UnclearNumber if it counts in sixties, such as 1:30.0."""
        value = super().construct_yaml_float(node)
        if ":" in node.value:
            raise _unclear(node, value)
        return value


def _unclear(node: yaml.ScalarNode, value: float) -> _UnclearNumber:
    return _UnclearNumber(
        f"{node.value} in line {node.start_mark.line + 1} is {value:g} to YAML; allowed are "
        f"decimal numbers without leading zeros, and text in quotation marks, as in '{node.value}'"
    )


_SafeLoader.add_constructor("tag:yaml.org,2002:int", _SafeLoader.construct_yaml_int)
_SafeLoader.add_constructor("tag:yaml.org,2002:float", _SafeLoader.construct_yaml_float)


def build_config(
    values: Mapping[str, Any],
    source: str,
    changes: Mapping[str, Any] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> StudyConfig:
    """Validate a mapping and return its configuration.

    Args:
        values: the sections and values.
        source: where they come from, for the message.
        changes: further values by dotted key, which take precedence.
        overrides: what the user wrote for those of the changes that are overrides, by dotted key;
            their faults name it, and not the source.

    Raises:
        ConfigError: if a part of a dotted key before the last is not a section.
        ConfigFaults: if it is invalid; the message lists every fault with its path, the value got
            and what is allowed.
    """
    rest = copy.deepcopy(dict(values))
    for key, value in (changes or {}).items():
        put_value(rest, key, value)
    config: StudyConfig | None = None
    faults: list[str] = []
    dropped: list[str] = []
    # The parts are compared only if each of them is valid. So the faulty values are left out, and
    # if that is not enough, what contains them; the last look is at what is left.
    for depth in (None, 2, 1, 1):
        try:
            config = StudyConfig.model_validate(rest)
            break
        except ValidationError as error:
            found = faults_of(error)
        if not faults:
            faults = "\n".join(map(describe, found[: MOST_FAULTS + 1])).splitlines()
        for place in map(place_of, found):
            _drop(rest, place[:depth])
            dropped.append(".".join(map(str, place[:2])))
    # Do not report a default that only replaces a faulty value, or a section of such values.
    replaced = [place if "." in place else f"{place}." for place in dropped]
    compared = broken_rules(config) if config else []
    faults += [line for line in compared if not any(place in line for place in replaced)]
    if faults or config is None:
        named = named_with(overrides or {}, faults)
        if all(told != fault for told, fault in zip(named, faults, strict=True)):
            source = OVERRIDES
        raise ConfigFaults(source, named, config, dropped)
    return config


def _drop(values: dict[Any, Any], location: Sequence[int | str]) -> None:
    """Delete the value at a location, or the innermost mapping entry that would contain it."""
    key, *below = location
    if below and isinstance(inner := values.get(key), dict) and below[0] in inner:
        _drop(inner, below)
    else:
        values.pop(key, None)


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return the values of overrides by dotted key.

    Raises:
        ConfigError: if one is not of the form ``section.field=value``, its value is not valid YAML,
            or two set the same value, so that their order decides.
    """
    values: dict[str, Any] = {}
    given: list[tuple[str, str]] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        what = f"override '{override[:LONGEST]}'"
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{what} is not of the form section.field=value")
        values[key] = _read_yaml(text, f"{what}: the value is")
        given.append((f"{key}.", f"'{override[:LONGEST]}'"))
    if repeated := [
        f"{one} and {other}"
        for (key, one), (later, other) in itertools.combinations(given, 2)
        if key.startswith(later) or later.startswith(key)
    ]:
        raise ConfigError(
            "overrides set the same value twice; allowed is one of each pair:\n  "
            + "\n  ".join(repeated)
        )
    return values


def put_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key in place, and create missing sections.

    Raises:
        ConfigError: if a part of the key before the last is not a section.
    """
    *sections, field = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"'{key}' cannot be set: {section} is {shown(inner)}, not a section")
        values = inner
    values[field] = value


def dump_config(config: StudyConfig) -> str:
    """Return the whole configuration, defaults included, as YAML that `load_config` reads."""
    values = {KEY: FORMAT, **config.model_dump(mode="json")}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class Member:
    """One study of a sweep.

    Its name is the same each time the sweep is run, so that a later run continues the study.
    """

    experiment: str
    """The name of the sweep's file, without the suffix."""
    axes: Mapping[str, Any]
    """The value of each axis, by dotted key."""
    config: StudyConfig
    """The configuration of the study."""


def is_sweep(source: Path) -> bool:
    """Return whether a folder or file stands for several studies.

    Raises:
        ConfigError: if the file cannot be read.
    """
    return source.is_dir() or AXES in read_values(source)


def load_sweep(source: Path, overrides: Sequence[str] = ()) -> list[Member]:
    """Read the studies of a file, or of all files in a folder.

    An override of an axis replaces all its values by one. Any other override holds for every study
    and takes precedence over the exceptions. ``name=…`` sets the beginning of the studies' names.

    Raises:
        ConfigError: if there is no file, a file or one of its studies is invalid, or two studies
            would have one folder.
    """
    files = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
    if not files:
        raise ConfigError(f"the folder {source} holds no configuration (*.yaml)")
    overridden = parse_overrides(overrides)
    texts = texts_of_overrides(overrides)
    members = [member for file in files for member in _members(file, overridden, texts)]
    known: dict[str, Member] = {}
    for member in members:
        name = str(member.config.name)
        # Some disks do not tell capitals from small letters.
        if (other := known.setdefault(name.casefold(), member)) is not member:
            raise ConfigError(
                f"{source}: two studies would share the folder '{name}': that of "
                f"{shown(dict(other.axes))} and that of {shown(dict(member.axes))}"
            )
    return members


def _members(
    file: Path, overridden: Mapping[str, Any], texts: Mapping[str, str]
) -> Iterator[Member]:
    values = read_values(file)
    axes, exceptions = values.pop(AXES, {}), values.pop(EXCEPTIONS, [])
    try:
        _check_sweep(axes, exceptions)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    chosen = {
        key: [overridden[key]] if key in overridden else choices for key, choices in axes.items()
    }
    if (count := math.prod(map(len, chosen.values()))) > MOST_STUDIES:
        raise ConfigError(f"{file}: {AXES} makes {count} studies; allowed are {MOST_STUDIES}")
    prefix = overridden.get("name") or file.resolve().parent.name
    for combination in itertools.product(*chosen.values()):
        point = dict(zip(chosen, combination, strict=True))
        parts = (p if isinstance(p, str) else shown(p) for p in (prefix, file.stem, *combination))
        name = "-".join(parts).replace(":", ".")
        excepted = {
            key: value
            for exception in exceptions
            if all(point[axis] in choices for axis, choices in exception["for"].items())
            for key, value in exception["set"].items()
        }
        changes = {**point, **excepted, **overridden, "name": name.replace("/", ".")}
        config = build_config(values, f"{file} ({name})", changes, texts)
        yield Member(file.stem, point, config)


def _check_sweep(axes: Any, exceptions: Any) -> None:
    """Check that axes make studies that can be named, and that exceptions are for some of these.

    Raises:
        ValueError: the first fault.
    """
    if not _is_keyed(axes) or not all(isinstance(v, list) and v for v in axes.values()):
        raise ValueError(f"{AXES} is {shown(axes)}; allowed are dotted keys with lists of values")
    if not isinstance(exceptions, list):
        raise ValueError(f"{EXCEPTIONS} is {shown(exceptions)}; allowed is a list")
    for axis, value in ((name, value) for name in axes for value in axes[name]):
        if isinstance(value, dict | list | tuple | set):
            raise ValueError(
                f"{AXES}.{axis}: {shown(value)} is no plain value, and a study is named by it"
            )
    for number, exception in enumerate(exceptions):
        place = f"{EXCEPTIONS}.{number}"
        parts = exception if isinstance(exception, dict) else {}
        if set(parts) != {"for", "set"} or not all(map(_is_keyed, parts.values())):
            raise ValueError(
                f"{place}: got {shown(exception)}; allowed is {{for: {{axis: [value, …]}}, "
                "set: {key: value}}"
            )
        for axis, values in parts["for"].items():
            listed = isinstance(values, list)
            strange = [v for v in values if v not in axes.get(axis, ())] if listed else values
            if axis not in axes or not listed or strange:
                raise ValueError(
                    f"{place}.for.{axis}: {shown(strange)} are no values of {AXES}.{axis}; "
                    f"axes are {', '.join(axes)}"
                )


def _is_keyed(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(key, str) for key in part)
