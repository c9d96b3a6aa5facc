"""What was asked in a study, in rows of a name and a text that depend on the kind of study."""

from collections import Counter

from study.data.shots import ALL, val_shots_per_class
from study.embedded import EMBEDDED
from study.method.recipe import are_unequal
from study.process.terminal_table import amount
from study.report.formatting import percent
from study.report.setting_descriptions import seeds_in_words, shots_in_words, unequal_in_words
from study.results.study_result import StudyResult
from study.results.training_images import read_training_images


def configuration_rows(results: StudyResult) -> list[tuple[str, str]]:
    """Return what was asked in a study: pairs of a name and a text."""
    config, protocol = results.config, results.protocol
    rows = _data_rows(results)
    if config.ablation:
        rows["Cells"] = f"{config.ablation.design} of {config.ablation.base}"
    if protocol.searches(config) or (config.ablation and protocol.validates(config)):
        rows["Choice"] = f"Trials were compared {_rule_sentence(results)}, never on test images."
    if protocol.searches(config) and not config.ablation:
        rows["Search"] = f"{amount(config.search.trials, 'trial')} ({config.search.sampler})"
        if protocol.strength != 1:
            kept = percent(protocol.strength, 0)
            rows["α"] = f"{kept} % of the tuned change is kept, as fixed beforehand"
    if protocol.trains:
        precision = results.study.resolve_precision().config.training.precision
        training = f"{amount(config.training.epochs, 'epoch')}, {config.training.optimizer}"
        rows["Training"] = training + (f", {precision}" if precision != "float32" else "")
        rows["Test"] = seeds_in_words(len(config.test.seeds), results.training_overlap)
    return [*rows.items()]


def _data_rows(results: StudyResult) -> dict[str, str]:
    """Return the rows on the dataset, the protocol, the images and the backbone."""
    config, protocol = results.config, results.protocol
    rows = {"Dataset": config.data.dataset, "Protocol": protocol.sentence}
    if config.data.targets:
        rows["Dataset"] += f"; tested on {', '.join(config.data.targets)} as well"
    if protocol.trains:
        rows["Images"] = f"{shots_in_words(config.data)} to train"
        if protocol.searches(config) and config.data.shots != ALL:
            val_shots = val_shots_per_class(config.data.shots, config.data.val_shots)
            rows["Images"] += f", {val_shots} to validate"
        unequal = unequal_in_words(config, unequal=_trains_on_unequal_classes(results))
        if unequal:
            rows["Unequal classes"] = unequal
    revision = f", revision {config.backbone.revision}" if config.backbone.revision else ""
    rows["Backbone"] = f"{config.backbone.name}{revision}"
    if config.backbone.name == EMBEDDED:
        rows["Backbone"] = "the small CLIP that comes with this package"
    return rows


def _trains_on_unequal_classes(results: StudyResult) -> bool:
    """Return whether classes were unequal in a training, as far as records say."""
    for split_hash in {trial.split_hash for trial in results.trial_results}:
        trained = read_training_images(results.folder, split_hash)
        if trained and are_unequal(Counter(r.label for r in trained.records).values()):
            return True
    return False


def _rule_sentence(results: StudyResult) -> str:
    """Return by what the trials were compared."""
    of_new_classes = [t.val for t in results.stage("search") if t.val.get("new") is not None]
    scores = next(iter(of_new_classes), {})
    report = {f"val_{name}": value for name, value in scores.items()}
    return results.protocol.rule(results.config, report).sentence
