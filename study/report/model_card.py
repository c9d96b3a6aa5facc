"""The model card of an exported model: what it is, how it was selected, and how to use it.

It is Markdown with the front matter of the Hugging Face hub. Without the study of a model, the card
has no dataset and no score. It has no licence, because that of the backbone is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from study.backbones.description import EMBEDDED
from study.config.labels import TUNED, ZERO_SHOT
from study.config.methods import method_of_delta
from study.method.delta import load_delta, without_head
from study.report.formatting import format_count, format_mean, format_rate, percent
from study.report.leaderboard_tables import main_table
from study.report.names import candidate_name, entry_name
from study.report.setting_descriptions import configuration_rows, settings_in_words
from study.report.tables import markdown_text
from study.report.templates import templates
from study.report.verdict import verdict
from study.results.rows import Row
from study.results.study_result import StudyResult
from study.results.trial_results import TrialResult
from study.serving.exports.format import ExportGuide, Format
from study.serving.saved_model import SavedModel

MOST_NAMES = 60
"""The most class names that a card lists; `classes.json` has all of them."""


class Provenance(NamedTuple):
    """The study that a model is from, and the trial that trained it."""

    result: StudyResult
    trial: TrialResult

    @property
    def entry(self) -> Row | None:
        """The entry of the trial's configuration on the leaderboard; None if it was not tested."""
        if self.trial.stage not in ("test", "final"):
            return None
        return self.result.find_row(self.trial.label)


@dataclass(frozen=True)
class Card:
    """What the template shows; texts are Markdown."""

    library: str
    base_model: str
    """The backbone's name on the hub; empty if it is not there."""
    task: str
    title: str
    summary: str
    guide: ExportGuide
    tuning: Sequence[tuple[str, str]]
    """What was tuned: pairs of a name and a text."""
    limits: Sequence[str]
    scores: bool = False
    """Whether the model was tested."""
    data: Sequence[tuple[str, str]] = ()
    """The settings of the study: pairs of a name and a text."""
    origin: str = ""
    """The study and the trial; empty if they are unknown."""
    figures: Sequence[str] = ()
    """The scores and what the study found, in paragraphs."""


def model_card(
    saved: SavedModel, exported: Format, guide: ExportGuide, provenance: Provenance | None
) -> str:
    """Return the text of a model card.

    Args:
        saved: the model.
        exported: the format that it was written in.
        guide: what the format says of its files.
        provenance: the study that the model is from; None if it is unknown.
    """
    model = markdown_text(saved.name) if saved.origin else "the tuned parameters of a trial"
    card = Card(
        library=exported.library,
        base_model=saved.info.backbone if saved.is_on_hub else "",
        task=exported.task,
        title="CLIP tuned by CLIPFit",
        summary=f"{exported.title} with {model}",
        guide=guide,
        tuning=_describe_tuning(saved),
        limits=_limits(provenance),
    )
    if provenance:
        result, trial = provenance.result, provenance.trial
        study, settings = result.folder.name, settings_in_words(trial.settings)
        origin = f"trial {trial.trial_id} of study {study}, with seed {trial.seed} ({settings})"
        card = replace(
            card,
            title=f"{card.title} for {markdown_text(result.config.data.dataset)}",
            scores=provenance.entry is not None,
            data=[
                (row, markdown_text(text).rstrip(".")) for row, text in configuration_rows(result)
            ],
            origin=f"This is {markdown_text(origin)}.",
            figures=_figures(saved, provenance),
        )
    template = templates(keep_trailing_newline=True)
    return str(template.get_template("model_card.md.jinja").render(card=card))


def _describe_tuning(saved: SavedModel) -> list[tuple[str, str]]:
    """Return what was tuned: pairs of a name and a text."""
    info, settings = saved.info, saved.settings
    tensors = without_head(load_delta(saved.delta)[0])
    method = method_of_delta(tensors)
    number = format_count(sum(tensor.numel() for tensor in tensors.values()))
    backbone = f"`{saved.backbone_name}`"
    if info.backbone == EMBEDDED:
        backbone = "the small CLIP that comes with clipfit-study"
    if info.revision:
        backbone += f", revision `{info.revision}`"
    alpha = "1, which is the tuned model"
    if not saved.origin:
        alpha = "unknown; the saved parameters are already interpolated"
    elif settings.alpha != 1:
        alpha = f"{format_rate(settings.alpha)}; the saved parameters are already interpolated"
    head = "the text features of the prompts"
    if settings.head == "linear":
        head = "a linear layer on the image features"
    names = ", ".join(map(markdown_text, info.class_names[:MOST_NAMES]))
    if len(info.class_names) > MOST_NAMES:
        names += f" and {len(info.class_names) - MOST_NAMES} more, see `classes.json`"
    return [
        ("Backbone", f"{backbone} (fingerprint `{info.fingerprint}`)"),
        ("Tuned", f"`{method or settings.subset}` ({number} parameters)"),
        ("Interpolation coefficient α", alpha),
        ("Head", head),
        ("Prompts", ", ".join(f"“{markdown_text(one)}”" for one in info.templates)),
        ("Classes", f"{len(info.class_names)}: {names}"),
    ]


def _figures(saved: SavedModel, provenance: Provenance) -> list[str]:
    """Return the scores of a model and what its study found, in paragraphs of Markdown."""
    result, trial, entry = provenance.result, provenance.trial, provenance.entry
    if not entry:
        score = percent(trial.val_score)
        return [f"This trial was not tested. Its validation score is {score} %."]
    figures = [replace(main_table(result), title="").markdown()]
    if alone := result.score_alone(trial):
        figures.append(
            f"This model alone, with seed {trial.seed}: {format_mean(alone, ' %')} (interval over "
            "test images alone)."
        )
    if saved.instead_of:
        best = markdown_text(settings_in_words(saved.instead_of))
        figures.append(
            f"The best configuration of the study, {best}, cannot be saved as a delta. This is the "
            "best that can. The results of the best configuration:"
        )
    elif not entry.is_best_by_validation:
        figures.append(
            f"Validation did not select this configuration, “{markdown_text(entry_name(entry))}”. "
            "The results of the best configuration:"
        )
    return [*figures, markdown_text(" ".join(verdict(result)))]


def _limits(provenance: Provenance | None) -> list[str]:
    """Return what a model cannot do, and what its scores do not cover."""
    limits = [
        "It assigns one of its classes to every image, even to an image of none of them. Its "
        "probabilities are not calibrated."
    ]
    entry = provenance.entry if provenance else None
    if provenance and entry:
        limits.append(
            "Its scores are from test images of the dataset that it was trained on. On other "
            "images, it may be much less accurate."
        )
        if provenance.trial.stage == "final":
            limits.append(
                "Mean scores are over models that were trained on the shots with several seeds; "
                "this model was trained once more, on more images."
            )
        elif entry.test.n > 1:
            seed = provenance.trial.seed
            limits.append(f"Mean scores are over several seeds; this model has seed {seed}.")
        missing = [label for label in (TUNED, ZERO_SHOT) if not provenance.result.find_row(label)]
        if missing:
            names = " and ".join(map(candidate_name, missing))
            limits.append(f"It was not compared with {names}.")
    limits.append(
        "It has the limits of its backbone, such as social biases learned from the internet. The "
        "licence of the backbone applies to these weights; this card does not know it."
    )
    return limits
