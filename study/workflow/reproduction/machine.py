"""This machine and its installation in words that name neither its user nor itself."""

import os
import platform
import re
from importlib.metadata import requires, version
from pathlib import Path

import study
from study.method.device import list_gpus
from study.storage.command_lines import PROGRAM
from study.trial.config_hash import code_hash
from study.workflow.origin import git_commit

_CPUS = Path("/proc/cpuinfo")
_REQUIRED = re.compile(r"([\w.-]+)[^;]*")
"""A requirement without a condition, as those of extras have one; the group is the package."""


def describe_machine() -> dict[str, str]:
    """Return the processor, cores, GPUs and system, and the versions of code and libraries."""
    processor = platform.processor()
    if _CPUS.exists():
        models = re.findall(r"(?m)^model name\s*: (.*)$", _CPUS.read_text(errors="replace"))
        processor = next(iter(models), processor)
    facts = {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "GPUs": ", ".join(list_gpus()) or "none",
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": git_commit(),
        "code": code_hash(Path(study.__file__ or "").parent),
        PROGRAM: version(PROGRAM),
    }
    for requirement in requires(PROGRAM) or ():
        match = _REQUIRED.fullmatch(requirement)
        if match:
            facts[match[1]] = version(match[1])
    return facts
