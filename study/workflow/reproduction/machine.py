"""This machine and this installation in words that name neither its user nor itself."""

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import study
from study.method.device import list_gpus
from study.storage.command_lines import PROGRAM
from study.trial.config_hash import code_hash
from study.workflow.origin import git_commit

_CPUS = Path("/proc/cpuinfo")


def describe_machine() -> dict[str, str]:
    """Return the processor, cores, memory, GPUs and operating system."""
    processor = platform.processor()
    if _CPUS.exists():
        models = re.findall(r"(?m)^model name\s*: (.*)$", _CPUS.read_text(errors="replace"))
        processor = next(iter(models), processor)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "GPUs": ", ".join(list_gpus()) or "none",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def list_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and its code, and of its dependencies."""
    versions = {
        "python": platform.python_version(),
        PROGRAM: version(PROGRAM),
        "commit": git_commit(),
        "code": code_hash(Path(study.__file__ or "").parent),
    }
    for requirement in requires(PROGRAM) or ():
        name, _, condition = requirement.partition(";")
        match = re.match(r"[\w.-]+", name)
        if match and "extra" not in condition:
            with suppress(PackageNotFoundError):
                versions[match[0]] = version(match[0])
    return versions
