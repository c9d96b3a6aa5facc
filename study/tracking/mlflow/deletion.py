"""Find and delete what MLflow has of a study: runs, logged models, versions of registered models.

Registered models are shared by all studies of a dataset, so versions of other studies stay. If the
deleted study had the champion, the best of the comparable versions becomes champion.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from study.storage.study_folder import CHAMPION
from study.tracking.mlflow.address import is_absent_store
from study.tracking.mlflow.champion import judge
from study.tracking.mlflow.run_content import Tags
from study.tracking.mlflow.server import (
    SEVERAL_WITHIN,
    call_mlflow,
    if_present,
    open_client,
    redact_uri,
    search_all_runs,
)


class StudyContents(NamedTuple):
    """Everything that a tracking server has of one study."""

    runs: tuple[str, ...] = ()
    """The ids of its runs, its own run last."""
    models: tuple[str, ...] = ()
    """The ids of its logged models."""
    versions: Mapping[str, Sequence[str]] = {}
    """The numbers of the study's versions of registered models, by the models' names."""
    championed: tuple[str, ...] = ()
    """The names of the registered models whose champion is one of these versions."""

    def summary(self) -> str:
        """Return the contents in words."""
        from study.process.terminal_table import amount  # needs rich, as its callers do

        items = [amount(len(self.runs), "run")]
        if self.models:
            items.append(amount(len(self.models), "logged model"))
        for name, numbers in self.versions.items():
            alias = ", the champion" if name in self.championed else ""
            items += [f"models:/{name}/{number}{alias}" for number in numbers]
        return "; ".join(items)


def find_contents(uri: str, study_id: str) -> StudyContents:
    """Find everything that a tracking server has of a study.

    Args:
        uri: the address of the tracking server or store.
        study_id: the id of the study, which its runs have as a tag.

    Raises:
        TrackingError: the server does not answer.
    """
    if is_absent_store(uri):
        return StudyContents()
    return call_mlflow(
        SEVERAL_WITHIN,
        lambda: _find(open_client(uri), f"tags.study_id = '{study_id}'"),
        f"{redact_uri(uri)} does not tell what it has of the study",
    )


def _find(client: MlflowClient, condition: str) -> StudyContents:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    run_ids = []
    model_ids = []
    if experiments:
        runs = list(search_all_runs(client, experiments, condition))
        runs.sort(key=lambda run: "study_parent" in run.data.tags)
        run_ids = [run.info.run_id for run in runs]
        models = client.search_logged_models(experiments, condition)
        model_ids = [model.model_id for model in models]
    versions = defaultdict(list)
    championed = []
    for version in client.search_model_versions(condition):
        number = str(version.version)
        versions[version.name].append(number)
        aliases = client.get_registered_model(version.name).aliases
        if str(aliases.get(CHAMPION)) == number:
            championed.append(version.name)
    return StudyContents(tuple(run_ids), tuple(model_ids), versions, tuple(championed))


def delete_contents(uri: str, contents: StudyContents) -> list[str]:
    """Delete what a tracking server has of a study; doing so twice changes nothing.

    MLflow keeps deleted runs until ``mlflow gc``.

    Args:
        uri: the address of the tracking server or store.
        contents: the result of `find_contents`.

    Returns:
        A line on each registered model that has lost its champion or its last version.

    Raises:
        TrackingError: the server does not answer, or refuses.
    """
    if contents == StudyContents():
        return []
    return call_mlflow(
        SEVERAL_WITHIN,
        lambda: _delete(open_client(uri), contents),
        f"{redact_uri(uri)} does not delete all that it has of the study",
        "; the study's folder is kept, so that the command can be given again",
    )


def _delete(client: MlflowClient, contents: StudyContents) -> list[str]:
    lines = []
    for name, numbers in contents.versions.items():
        deleted_tags = None
        if name in contents.championed:
            champion = client.get_model_version_by_alias(name, CHAMPION)
            deleted_tags = dict(champion.tags)
        for number in numbers:
            if_present(client.delete_model_version, name, number)
        line = _update_registered_model(client, name, deleted_tags)
        if line:
            lines.append(line)
    for model_id in contents.models:
        if_present(client.delete_logged_model, model_id)
    for run_id in contents.runs:
        if_present(client.delete_run, run_id)
    return lines


def _update_registered_model(client: MlflowClient, name: str, deleted_tags: Tags | None) -> str:
    """Delete a registered model without versions, or choose another champion.

    Args:
        client: a client of the server.
        name: the registered model.
        deleted_tags: the tags of the champion that was deleted; None if it was not deleted.

    Returns:
        What was done, in words; empty if nothing was done.
    """
    versions = client.search_model_versions(f"name = '{name}'")
    if not versions:
        if_present(client.delete_registered_model, name)
        return f"{name} had no other version, and is deleted too"
    if deleted_tags is None:
        return ""
    heir = _best_comparable(versions, deleted_tags)
    if heir is None:
        # MLflow 3.14.0 and 3.15.0 keep the alias of a version that is deleted.
        if_present(client.delete_registered_model_alias, name, CHAMPION)
        return (
            f"{name} has no champion now: none of its other versions compares with the deleted one"
        )
    client.set_registered_model_alias(name, CHAMPION, str(heir.version))
    return (
        f"models:/{name}/{heir.version}, of study '{heir.tags['study']}', is the champion now: of "
        "the versions that compare with the deleted one it has the best validation score"
    )


def _best_comparable(versions: Sequence[ModelVersion], deleted_tags: Tags) -> ModelVersion | None:
    """Return the version with the best score of those whose scores compare with a champion's.

    Args:
        versions: the versions.
        deleted_tags: the tags of the champion.
    """
    best = None
    for version in sorted(versions, key=lambda version: int(version.version)):
        tags = version.tags
        conditions = ("protocol", "selection", "split_hash")
        if any(tags.get(key) != deleted_tags.get(key) for key in conditions):
            continue
        if best is None or judge(tags, best.tags)[0]:
            best = version
    return best
