"""What was asked in a study, in rows of a name and a text that depend on the kind of study."""

from study.data.shots import val_shots_per_class
from study.embedded import EMBEDDED
from study.process.terminal_table import amount
from study.report.formatting import duration, percent
from study.report.sentences import rows
from study.report.site_descriptions import sites_in_words
from study.results.occupancy import Occupancy, occupancy
from study.results.study_results import Results
from study.selection.patience import read_search_end

_STAGES = {
    "search": "Search",
    "average": "Averages of the best",
    "ablation": "Cells",
    "confirm": "Test",
    "member": "Members of an average",
    "unknown": "Images of unknown classes",
    "refit": "Refit, which ships",
}


def configuration_rows(results: Results) -> list[tuple[str, str]]:
    """Return what was asked in a study: pairs of a name and a text.

    Args:
        results: the results of the study.
    """
    return rows(
        "report/configuration_rows",
        results=results,
        embedded=EMBEDDED,
        val_shots_per_class=val_shots_per_class,
        rule_sentence=_rule_sentence,
        sites_in_words=sites_in_words,
        search_end=read_search_end(results.folder),
    )


def stage_rows(results: Results) -> list[tuple[str, str]]:
    """Return how long each stage took: pairs of its name and a text."""
    durations = []
    for stage, name in _STAGES.items():
        trials = results.stage(stage)
        work = occupancy(trials)
        if work:
            durations.append((name, occupancy_in_words(work)))
        elif trials:
            seconds = sum(trial.seconds or 0.0 for trial in trials)
            durations.append((name, f"{amount(len(trials), 'trial')}, {duration(seconds)} of work"))
    return durations


def occupancy_in_words(work: Occupancy) -> str:
    """Return the share of time in which the slots of a stage worked."""
    slots = "one at a time" if work.slots == 1 else f"{work.slots} at a time"
    return (
        f"{amount(work.trials, 'trial')} in {duration(work.wall)}, {slots}: "
        f"{percent(work.share, 0)} % of the time was training and evaluation"
    )


def _rule_sentence(results: Results) -> str:
    """Return by what the trials were compared."""
    of_new_classes = [t.val for t in results.stage("search") if t.val.get("new") is not None]
    scores = next(iter(of_new_classes), {})
    report = {f"val_{name}": value for name, value in scores.items()}
    return results.protocol.rule_from_report(results.config, report).sentence
