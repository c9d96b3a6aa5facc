"""What was asked in a study, in rows of a name and a text that depend on the kind of study."""

from collections import Counter

from study.data.shots import val_shots_per_class
from study.embedded import EMBEDDED
from study.method.recipe import are_unequal
from study.report.sentences import rows
from study.report.setting_descriptions import unequal_in_words
from study.report.site_descriptions import sites_in_words
from study.results.study_result import StudyResult
from study.results.training_images import read_training_images


def configuration_rows(results: StudyResult) -> list[tuple[str, str]]:
    """Return what was asked in a study: pairs of a name and a text.

    Args:
        results: the results of the study.
    """
    return rows(
        "report/configuration_rows",
        results=results,
        unequal=unequal_in_words(results.config, unequal=_trains_on_unequal_classes(results)),
        embedded=EMBEDDED,
        val_shots_per_class=val_shots_per_class,
        rule_sentence=_rule_sentence,
        sites_in_words=sites_in_words,
    )


def _trains_on_unequal_classes(results: StudyResult) -> bool:
    """Return whether classes were unequal in a training, as far as records say."""
    for split_hash in {trial.split_hash for trial in results.trial_results}:
        trained = read_training_images(results.folder, split_hash)
        if trained and are_unequal(Counter(r.label for r in trained.records).values()):
            return True
    return False


def stage_rows(results: StudyResult) -> list[tuple[str, str]]:
    """Return how long the trials of each stage took: pairs of its name and a text."""
    return rows("report/stage_rows", results=results)


def _rule_sentence(results: StudyResult) -> str:
    """Return by what the trials were compared."""
    of_new_classes = [t.val for t in results.stage("search") if t.val.get("new") is not None]
    scores = next(iter(of_new_classes), {})
    report = {f"val_{name}": value for name, value in scores.items()}
    return results.protocol.rule(results.config, report).sentence
