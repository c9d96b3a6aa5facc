"""The version of a registered model that is champion: the rule, and the move of the alias.

The alias moves by validation: to a version with a better score under the same protocol, metric and
selection rule on the same split. Test scores are never compared. A version that is not shown to
beat chance on test does not get the alias.
"""

import fcntl

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from study.storage.study_folder import CHAMPION, StudyFolder
from study.tracking.mlflow.run_content import SCORE, Tags

BEATS_CHANCE = "beats_chance"
"""The tag with whether a version is shown to beat chance on test, if that is known."""
SHOWN, NOT_SHOWN = "shown", "not shown"
ORIGIN = ("study_id", "source_trial")
"""The tags that two trainings of one configuration of a study have in common."""
CONDITIONS = ("protocol", "metric", "selection", "split_hash")
"""The tags that two versions must have in common for their scores to compare."""


def decide_champion(
    client: MlflowClient, folder: StudyFolder, version: ModelVersion, tags: Tags
) -> tuple[bool, str]:
    """Move the champion's alias to a study's version of a model if it wins.

    Studies in one folder decide one after the other, so that none overwrites what it has not seen.

    Args:
        client: a client of the registry.
        folder: the folder of the study.
        version: the version.
        tags: where it is from, and how it was chosen.

    Returns:
        Whether the version has the alias now, and why.
    """
    with (folder.path.parent / ".champion.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        holder = client.get_registered_model(version.name).aliases.get(CHAMPION)
        champion_tags = None
        if holder and str(holder) == str(version.version):
            registration = folder.read_registration()
            if registration and registration.champion:
                return True, registration.reason
            return True, "it has been given the alias"
        if holder:
            champion_tags = client.get_model_version(version.name, holder).tags
        wins, reason = judge(tags, champion_tags)
        if wins:
            client.set_registered_model_alias(version.name, CHAMPION, version.version)
        elif holder:
            reason = f"version {holder} remains, because {reason}"
        return wins, reason


def judge(challenger: Tags, champion: Tags | None) -> tuple[bool, str]:
    """Return whether a version should be champion, and why.

    Args:
        challenger: the tags of the new version.
        champion: the tags of the present champion; None if there is none.
    """
    if challenger.get(BEATS_CHANCE) == NOT_SHOWN:
        return False, "the new one is not significantly better than chance on test"
    if champion is None:
        return True, "there was no champion before"
    if all(challenger[key] == champion.get(key) for key in ORIGIN):
        return True, "it is another training of the champion’s configuration"
    for key in CONDITIONS:
        if challenger[key] != champion.get(key):
            return False, (
                f"the {key} differs ({challenger[key]} instead of {champion.get(key)}), so "
                "validation scores are not comparable"
            )
    new, old, study = float(challenger[SCORE]), float(champion[SCORE]), champion.get("study")
    if new > old:
        return True, f"its validation score is {new:.1%}, above {old:.1%} of study '{study}'"
    return False, (f"the new validation score is {new:.1%}, not above {old:.1%} of study '{study}'")
