"""What was asked in a study, in rows of a name and a text that depend on the kind of study."""

from study.data.shots import ALL, val_shots_per_class
from study.report.setting_descriptions import seeds_in_words, shots_in_words
from study.report.terminal import amount
from study.results.study_result import StudyResult


def configuration_rows(results: StudyResult) -> list[tuple[str, str]]:
    """Return what was asked in a study: pairs of a name and a text."""
    config, protocol = results.config, results.protocol
    data, searches = config.data, protocol.searches(config)
    rows = {"Dataset": ", ".join([data.dataset, *data.targets]), "Protocol": protocol.sentence}
    if protocol.trains:
        rows["Images"] = f"{shots_in_words(data)} to train"
        if searches and data.shots != ALL:
            rows["Images"] += f", {val_shots_per_class(data.shots, data.val_shots)} to validate"
    if config.ablation:
        rows["Cells"] = f"{config.ablation.design} of {config.ablation.base}"
    if searches or (config.ablation and protocol.validates(config)):
        rows["Choice"] = f"Trials were compared {_rule_sentence(results)}, never on test images."
    if searches and not config.ablation:
        rows["Search"] = f"{amount(config.search.trials, 'trial')} ({config.search.sampler})"
    if protocol.trains:
        precision = results.study.resolve_precision().config.training.precision
        epochs = amount(config.training.epochs, "epoch")
        rows["Training"] = f"{epochs}, {config.training.optimizer}, {precision}"
        rows["Test"] = seeds_in_words(len(config.test.seeds), results.training_overlap)
    return [*rows.items()]


def _rule_sentence(results: StudyResult) -> str:
    """Return by what the trials were compared."""
    of_new_classes = [t.val for t in results.stage("search") if t.val.get("new") is not None]
    scores = next(iter(of_new_classes), {})
    report = {f"val_{name}": value for name, value in scores.items()}
    return results.protocol.rule(results.config, report).sentence
