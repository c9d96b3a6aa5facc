"""Studies that are run and opened from a notebook."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.commands.check_result import print_warnings
from study.commands.export import export
from study.commands.extension import extend_and_run
from study.commands.find import find_config, find_study
from study.commands.new_study import make_study
from study.commands.run_study import run_study as run_study_to_the_end
from study.commands.signals import LastingConsole
from study.config.loading import load_config
from study.config.sweep import is_sweep
from study.config.yaml_text import written_override
from study.errors import ConfigError
from study.library.dataset import Dataset
from study.library.tuned_model import TunedModel, load_model
from study.report.ablation_tables import ablation_csv
from study.report.leaderboard_tables import leaderboard_csv
from study.results.study_result import StudyResult, read_study_result
from study.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    from pandas import DataFrame


class OpenedStudy:
    """A study, see `open_study`. What is asked of it is read anew from its folder."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._model: TunedModel | None = None

    def __repr__(self) -> str:
        return f"<OpenedStudy {self.name!r} in {self.path.parent}>"

    @property
    def name(self) -> str:
        """The name of the study."""
        return self._folder.name

    @property
    def path(self) -> Path:
        """The folder of the study."""
        return self._folder.path

    @property
    def results(self) -> StudyResult:
        """All results at the time of reading.

        Raises:
            StudyError: a file of the study is damaged.
        """
        return read_study_result(self.path)

    def leaderboard(self) -> "DataFrame":
        """Return what was tested, best first, with fractions for scores.

        The columns are those of ``leaderboard.csv`` or, of an ablation, ``ablation.csv``.

        Raises:
            StudyError: a file of the study is damaged.
        """
        import pandas as pd

        results = self.results
        text = ablation_csv(results.ablation) if results.ablation else leaderboard_csv(results)
        return pd.read_csv(io.StringIO(text))

    def predict(self, images: Any) -> "DataFrame":
        """Classify images with the final model of the study; see `TunedModel.predict`.

        Raises:
            StudyError: the study has no winner, or an image cannot be read.
        """
        if self._model is None:
            self._model = load_model(self.path)
        return self._model.predict(images)

    def extend(self, overrides: Mapping[str, object]) -> None:
        """Continue the study with more trials or another final model, as the command does.

        Args:
            overrides: what changes, such as ``{"search.trials": 90}``, the number in all.

        Raises:
            StudyError: a value is not allowed, or the study was interrupted.
        """
        self._model = None
        extend_and_run(self._folder, _written(overrides), LastingConsole())

    def export(self, format: str, out: str | Path) -> None:
        """Write the final model of the study for another library, with a model card.

        Args:
            format: ``hf``, ``peft``, ``openclip`` or ``onnx``.
            out: a new or empty folder.

        Raises:
            StudyError: the format or the folder cannot be used, or the study has no winner.
        """
        print(*export(str(self.path), format, Path(out)), sep="\n")


def run_study(
    configuration: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    dataset: Dataset | None = None,
    storage: str | Path | None = None,
) -> OpenedStudy:
    """Run a new study to its end.

    Args:
        configuration: the name of a shipped configuration, or the path of a file.
        overrides: values that replace those of the configuration, by dotted key, such as
            ``{"search.trials": 12}``.
        dataset: the images to study; None means those that the configuration names.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted; the
            message has the command that resumes it.
    """
    source = find_config(str(configuration))
    written = _written(overrides or {})
    if storage is not None:
        written.append(written_override("storage", storage))
    if is_sweep(source):
        raise ConfigError(
            f"{source} is a sweep of several studies, which only the command clipfit-study runs"
        )
    if dataset is not None:
        if not isinstance(dataset, Dataset):
            raise ConfigError(
                f"dataset is a {type(dataset).__name__}; allowed is a study.Dataset, made by its "
                "from_frame or from_huggingface"
            )
        root = dataset.save(load_config(source, written).storage)
        written += _written({"data.dataset": dataset.name, "data.root": root})
    console = LastingConsole()
    made, warnings = make_study(source, written)
    print_warnings(warnings, console)
    run_study_to_the_end(made, console, resume=False)
    return OpenedStudy(made.folder)


def open_study(name: str | Path, *, storage: str | Path | None = None) -> OpenedStudy:
    """Open a study, whether it has ended or not.

    Args:
        name: the name of the study, or the path to its folder.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        ConfigError: there is no such study; the message lists those in the storage.
    """
    return OpenedStudy(find_study(str(name), storage))


def _written(overrides: Mapping[str, object]) -> list[str]:
    """Return overrides as a command line has them, so that messages are the same."""
    return [written_override(key, value) for key, value in overrides.items()]
