"""CLIPFit studies: which biases and LayerNorms of CLIP to tune on a few images.

These names are for notebooks and programs, see `study.api`; each is imported when it is used.
"""

TYPE_CHECKING = False
"""What type checkers take for true; the import of `typing` would be most of this one."""
if TYPE_CHECKING:
    from study.api import Dataset, OpenedStudy, load_model, open_study, run_study
    from study.errors import StudyError
    from study.results.study_result import StudyResult
    from study.serving.classifier import TunedClassifier

__all__ = [
    "Dataset",
    "OpenedStudy",
    "StudyError",
    "StudyResult",
    "TunedClassifier",
    "load_model",
    "open_study",
    "run_study",
]
_ELSEWHERE = {
    "StudyError": "study.errors",
    "StudyResult": "study.results.study_result",
    "TunedClassifier": "study.serving.classifier",
}
"""The module of each public name that is not in `study.api`."""


def __getattr__(name: str) -> object:
    """Import a public name, or `study.run`, the module of the command."""
    from importlib import import_module

    if name == "run":
        return import_module("study.run")
    if name not in __all__:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "study.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
