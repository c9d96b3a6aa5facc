"""CLIPFit studies: which biases and LayerNorms of CLIP to tune on a few images.

These names are for notebooks and programs, see `study.library`; each is imported when it is used.
"""

TYPE_CHECKING = False
"""What type checkers take for true; the import of `typing` would be most of this one."""
if TYPE_CHECKING:
    from study.errors import StudyError
    from study.library.dataset import Dataset
    from study.library.opened_study import OpenedStudy, open_study, run_study
    from study.library.tuned_model import TunedModel, load_model

__all__ = [
    "Dataset",
    "OpenedStudy",
    "StudyError",
    "TunedModel",
    "load_model",
    "open_study",
    "run_study",
]
_MODULES = {
    "Dataset": "study.library.dataset",
    "OpenedStudy": "study.library.opened_study",
    "StudyError": "study.errors",
    "TunedModel": "study.library.tuned_model",
    "load_model": "study.library.tuned_model",
    "open_study": "study.library.opened_study",
    "run_study": "study.library.opened_study",
}
"""The module of each public name."""


def __getattr__(name: str) -> object:
    """Import a public name, or `study.run`, the module of the command."""
    from importlib import import_module

    if name == "run":
        return import_module("study.run")
    if name not in _MODULES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
