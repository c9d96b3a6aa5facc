"""What MLflow has of a study, and its deletion: runs, logged models and versions of the registry.

Registered models are shared by all studies of a dataset, so versions of other studies stay. If the
deleted study had the champion, the best of the rest that compares with it becomes champion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from study.storage.study_folder import CHAMPION
from study.tracking.mlflow.address import is_absent_store
from study.tracking.mlflow.registry import judge
from study.tracking.mlflow.server import SEVERAL_WITHIN, all_runs, ask, open_client, redacted

ABSENT = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class StudyContents:
    """What a tracking server has of one study."""

    runs: tuple[str, ...] = ()
    """The ids of its runs, its own run last."""
    models: tuple[str, ...] = ()
    """The ids of its logged models."""
    versions: tuple[tuple[str, str], ...] = ()
    """The names of registered models, each with the number of a version of the study."""
    championed: tuple[str, ...] = ()
    """The names of the registered models whose champion is one of these versions."""

    def in_words(self) -> str:
        """Return what is held, in words."""
        parts = [_count(len(self.runs), "run")]
        if self.models:
            parts.append(_count(len(self.models), "logged model"))
        for name, version in self.versions:
            alias = ", the champion" if name in self.championed else ""
            parts.append(f"models:/{name}/{version}{alias}")
        return "; ".join(parts)


def find_contents(uri: str, study_id: str) -> StudyContents:
    """Return what a tracking server has of a study.

    Args:
        uri: the address of the tracking server or store.
        study_id: the study's identity, by which its runs are tagged.

    Raises:
        TrackingError: the server does not answer.
    """
    if is_absent_store(uri):
        return StudyContents()
    return ask(
        SEVERAL_WITHIN,
        lambda: _held(open_client(uri), f"tags.study_id = '{study_id}'"),
        f"{redacted(uri)} does not tell what it has of the study",
    )


def _held(client: MlflowClient, condition: str) -> StudyContents:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = list(all_runs(client, experiments, condition)) if experiments else []
    runs.sort(key=lambda run: "study_parent" in run.data.tags)
    models = client.search_logged_models(experiments, condition) if experiments else []
    versions = _versions(client, condition)
    names = dict.fromkeys(version.name for version in versions)
    champions = {name: client.get_registered_model(name).aliases.get(CHAMPION) for name in names}
    championed = [v.name for v in versions if str(champions[v.name]) == str(v.version)]
    return StudyContents(
        runs=tuple(run.info.run_id for run in runs),
        models=tuple(model.model_id for model in models),
        versions=tuple((version.name, str(version.version)) for version in versions),
        championed=tuple(championed),
    )


def _versions(client: MlflowClient, condition: str) -> list[ModelVersion]:
    """Return all versions of registered models that meet a condition."""
    versions: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(condition, page_token=token)
        versions += page
        token = page.token
        if not token:
            return versions


def delete_contents(uri: str, held: StudyContents) -> list[str]:
    """Delete what a tracking server has of a study; once more does no harm.

    MLflow keeps deleted runs until ``mlflow gc``.

    Args:
        uri: the address of the tracking server or store.
        held: what it has.

    Returns:
        A line on each registered model that has lost its champion or its last version.

    Raises:
        TrackingError: the server does not answer, or refuses.
    """
    if held == StudyContents():
        return []
    return ask(
        SEVERAL_WITHIN,
        lambda: _delete(open_client(uri), held),
        f"{redacted(uri)} does not delete all that it has of the study",
        "; the study's folder is kept, so that the command can be given again",
    )


def _delete(client: MlflowClient, held: StudyContents) -> list[str]:
    lines = []
    for name in dict.fromkeys(name for name, _ in held.versions):
        lost = _tags_of_champion(client, name) if name in held.championed else None
        for other, version in held.versions:
            if other == name:
                _passing_over_absent(client.delete_model_version, name, version)
        lines.append(_settle(client, name, lost))
    for model in held.models:
        _passing_over_absent(client.delete_logged_model, model)
    for run in held.runs:
        _passing_over_absent(client.delete_run, run)
    return [line for line in lines if line]


def _passing_over_absent(delete: Callable[..., None], *arguments: str) -> None:
    """Delete something, unless it is not there any more."""
    try:
        delete(*arguments)
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise


def _tags_of_champion(client: MlflowClient, name: str) -> Mapping[str, str]:
    version = client.get_model_version_by_alias(name, CHAMPION)
    return dict(version.tags)


def _settle(client: MlflowClient, name: str, lost: Mapping[str, str] | None) -> str:
    """Delete a registered model without versions, or find another champion.

    Args:
        client: a client of the server.
        name: the registered model.
        lost: the tags of the champion that was deleted; None if it was not.

    Returns:
        What was done, in words; empty if nothing was.
    """
    rest = _versions(client, f"name = '{name}'")
    if not rest:
        _passing_over_absent(client.delete_registered_model, name)
        return f"{name} had no other version, and is deleted too"
    if lost is None:
        return ""
    heir = _best(rest, lost)
    if heir is None:
        return (
            f"{name} has no champion now: none of its other versions compares with the deleted one"
        )
    client.set_registered_model_alias(name, CHAMPION, str(heir.version))
    return (
        f"models:/{name}/{heir.version}, of study '{heir.tags['study']}', is the champion now: of "
        "the versions that compare with the deleted one it has the best validation score"
    )


def _best(versions: Sequence[ModelVersion], lost: Mapping[str, str]) -> ModelVersion | None:
    """Return the version with the best score of those that compare with a champion.

    Args:
        versions: the versions.
        lost: the tags of the champion.
    """
    compared = ("protocol", "selection", "split_hash")
    best: ModelVersion | None = None
    for version in sorted(versions, key=lambda version: int(version.version)):
        alike = all(version.tags.get(key) == lost.get(key) for key in compared)
        if alike and (best is None or judge(version.tags, best.tags)[0]):
            best = version
    return best


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
