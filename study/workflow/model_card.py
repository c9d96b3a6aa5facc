"""The model card of an exported model: what it is, how it was chosen, and how it is used.

It is Markdown with the front matter of the Hugging Face hub. Without the study of a model, the card
has no dataset and no score. It has no licence, since that of the backbone is not known.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from study.backbones.description import EMBEDDED, NAME_ON_HUB
from study.config.labels import TUNED, ZERO_SHOT
from study.config.shipped import repeating_command
from study.errors import StudyError
from study.method.delta import LOGIT_SCALE, load_delta, without_head
from study.method.peers import PEERS, find_peer
from study.report.configuration_table import configuration_rows
from study.report.formatting import (
    Table,
    format_count,
    format_mean,
    markdown_text,
    percent,
    score_cells,
    score_header,
)
from study.report.further_scores import further_header, further_note
from study.report.names import candidate_name, entry_name
from study.report.scope import leaderboard_scope
from study.report.setting_descriptions import settings_in_words
from study.report.site_descriptions import subset_in_words
from study.report.verdict import verdict
from study.results.entries import Entry
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.study_results import read_results
from study.results.trial_results import TrialResult
from study.selection.chance import BALANCED
from study.serving.exports.format import ExportGuide, Format
from study.serving.saved_model import SavedModel
from study.storage.command_lines import default_storage
from study.storage.study_folder import StudyFolder, studies
from study.workflow.lookup import find_study

PAPER = "https://arxiv.org/abs/2409.16718"
MOST_NAMES = 60
"""The most class names that a card lists; `classes.json` has all of them."""
OF_UNKNOWN = (
    "On which images it was trained, how it was chosen and how well it does is not known here: "
    "this card was made without the folder of a study."
)
"""The text of a card in place of data and scores if the study of the model is not known."""
_STUDY_ROWS = ("Dataset", "Protocol", "Images", "Choice", "Training", "Search", "Test")
"""The rows of a report's table of the configuration that a card has as well."""


class Provenance(NamedTuple):
    """The study that a model is from, and the trial that trained it."""

    board: Leaderboard
    trial: TrialResult

    @property
    def entry(self) -> Entry | None:
        """The entry of the trial's configuration on the leaderboard; None if it was not tested."""
        if self.trial.stage not in ("confirm", "refit"):
            return None
        return self.board.find_entry(self.trial.label)


def model_card(
    saved: SavedModel, exported: Format, guide: ExportGuide, provenance: Provenance | None
) -> str:
    """Return the text of a model card.

    Args:
        saved: the model.
        exported: the format that it was written in.
        guide: what the format says of its files.
        provenance: the study that the model is from; None if it is not known.
    """
    measured = provenance is not None and provenance.entry is not None
    title = "# CLIP tuned by CLIPFit"
    if provenance:
        title += f" for {markdown_text(provenance.board.config.data.dataset)}"
    name = "the tuned parameters of a trial"
    if saved.origin:  # the name of a file is its path, and cards are shared
        name = markdown_text(saved.name)
    blocks = [
        front_matter(saved, exported, measured),
        title,
        f"This is {exported.title} with {name}, made by clipfit-study. CLIPFit "
        f"([Li et al., EMNLP 2024]({PAPER})) adapts CLIP to a few labelled images per class by "
        "training numbers that CLIP already has.",
        "## Use",
        f"```python\n{guide.loading}```",
    ]
    blocks += guide.notes
    blocks.append(
        "This needs no code of clipfit-study. `classes.json` has the class names and the prompts. "
        "Images are to be upright and opaque: clipfit-study itself turns photographs as their EXIF "
        "tag says, and makes transparent pixels white."
    )
    blocks += ["## What was tuned", _describe_tuning(saved)]
    if provenance:
        blocks += _describe_study(provenance)
    else:
        blocks.append(OF_UNKNOWN)
    calibrated = LOGIT_SCALE in load_delta(saved.delta)[0]
    limits = [f"- {line}" for line in _limits(provenance, calibrated=calibrated)]
    limits += [f"- {line}" for line in guide.limits]
    blocks += ["## Limits", "\n".join(limits)]
    return "\n\n".join(blocks) + "\n"


def front_matter(saved: SavedModel, exported: Format, measured: bool) -> str:
    """Return the front matter, in YAML whose values are JSON, which is valid YAML."""
    name = saved.info.backbone
    values: dict[str, object] = {"library_name": exported.library}
    if name != EMBEDDED and NAME_ON_HUB.fullmatch(name):
        values["base_model"] = name
    values["pipeline_tag"] = exported.task
    values["tags"] = ["clip", "clipfit", "few-shot", "image-classification"]
    if measured:
        values["metrics"] = ["accuracy"]
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _describe_tuning(saved: SavedModel) -> str:
    info = saved.info
    settings = saved.settings
    tensors = without_head(load_delta(saved.delta)[0])
    tensors.pop(LOGIT_SCALE, None)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    peer = find_peer(tensors)
    tuned = f"`{settings.subset}`, {format_count(numbers)} numbers of it"
    terms = subset_in_words(settings.subset)
    if peer is not None:
        tuned = f"`{peer}`, {format_count(numbers)} numbers of it"
        terms = [(peer, PEERS[peer].title)]
    for term, words in terms:
        tuned += f"; `{term}` is {words}"
    head = "the text features of the prompts"
    if settings.head == "linear":
        head = "a linear layer on the image features, which begins at the text features"
    prompts = ", ".join(f"“{markdown_text(text)}”" for text in info.templates)
    lines = [
        f"- Backbone: {_describe_backbone(saved)}.",
        f"- Tuned: {tuned}.",
        f"- Strength: {_strength(saved)}.",
        f"- Head: {head}.",
        f"- Prompts: {prompts}.",
        f"- Classes: {_list_classes(info.class_names)}.",
    ]
    return "\n".join(lines)


def _strength(saved: SavedModel) -> str:
    if not saved.origin:  # a file has the parameters at its strength, and not the number
        return "which share of the tuned change is kept is not known here; it is applied already"
    strength = saved.settings.strength
    if strength == 1.0:
        return "all of the tuned change is kept"
    return f"{percent(strength, 0)} % of the tuned change is kept, which is applied already"


def _describe_backbone(saved: SavedModel) -> str:
    """Return which checkpoint was tuned; a folder by its last name, since cards are shared."""
    info = saved.info
    text = f"`{saved.backbone_name}`"
    if info.backbone == EMBEDDED:
        text = "the small CLIP that comes with clipfit-study"
    if info.revision:
        text += f", revision `{info.revision}`"
    return f"{text} (fingerprint `{info.fingerprint}`)"


def _list_classes(names: tuple[str, ...]) -> str:
    text = f"{len(names)}: {', '.join(map(markdown_text, names[:MOST_NAMES]))}"
    if len(names) > MOST_NAMES:
        text += f" and {len(names) - MOST_NAMES} more, see `classes.json`"
    return text


def _describe_study(provenance: Provenance) -> Iterator[str]:
    board = provenance.board
    trial = provenance.trial
    yield "## Data and choice"
    lines = [
        f"- {name}: {markdown_text(text).rstrip('.')}."
        for name, text in configuration_rows(board)
        if name in _STUDY_ROWS
    ]
    yield "\n".join(lines)
    yield (
        f"This is trial {markdown_text(trial.trial_id)} of study {markdown_text(board.folder.name)}"
        f", with seed {trial.seed} ({markdown_text(settings_in_words(trial.settings))})."
    )
    yield "## Figures"
    if not provenance.entry:
        yield _describe_untested(provenance)
    else:
        yield from _describe_figures(board, provenance.entry, trial)
    command = repeating_command(board.config)
    if command:
        yield "## Repeat"
        yield (
            "This command runs a study of the same configuration. Paths in it are the last names "
            "of folders and files."
        )
        yield f"```sh\n{command}\n```"


def _describe_untested(provenance: Provenance) -> str:
    score = provenance.trial.val_score
    text = (
        "This trial was not tested: no test image was read for it. On validation it scores "
        f"{percent(score)} %"
    )
    optimism = provenance.board.optimism
    if optimism:
        text += optimism.remark_on(score)
    return f"{text}."


def _describe_figures(board: Leaderboard, entry: Entry, trial: TrialResult) -> Iterator[str]:
    yield _score_table(board, entry, trial).markdown()
    guess = board.protocol.guess
    covered = "over seeds and test images together"
    if entry.test.images is None:
        covered = "over seeds alone"
    yield (
        "Scores on test images, in percent: the mean over seeds, each with its own training "
        f"images, and its 95 % interval {covered}. "
        + markdown_text(" ".join(leaderboard_scope(board)) + " ")
        + markdown_text(f"{further_note(board)} Chance: {guess[0].lower()}{guess[1:]}.")
    )
    if not entry.is_chosen:
        yield (
            "Validation did not choose this configuration, "
            f"“{markdown_text(entry_name(board, entry))}”. What the study found of its choice:"
        )
    yield " ".join(map(markdown_text, verdict(board)))


def _score_table(board: Leaderboard, entry: Entry, trial: TrialResult) -> Table:
    """Return the scores of a model, its configuration, its rivals, and chance."""
    alone: list[object] = [f"this model alone, seed {trial.seed}"]
    for name in (*board.parts, "score", *board.further_names):
        alone.append(percent(trial.test.get(name)))
    alone.append(1)
    name = f"this configuration: {entry_name(board, entry)}"
    rows = [_score_row(board, name, entry), alone]
    labels = {entry.label}
    for rival in (board.find_entry(TUNED), board.find_entry(ZERO_SHOT)):
        if rival and rival.label not in labels:
            labels.add(rival.label)
            rows.append(_score_row(board, entry_name(board, rival), rival))
    if board.chance is not None:
        rows.append(_chance_row(board, board.chance))
    metric = f"test {board.metric}"
    if board.parts:
        metric = board.metric
    header = [""]
    header += score_header(board.parts, metric)
    header += further_header(board)
    header.append("seeds")
    return Table("", header, rows)


def _score_row(board: Leaderboard, name: str, entry: Entry) -> list[object]:
    row: list[object] = [name]
    row += score_cells(board.parts, entry.parts, entry.test)
    row += [format_mean(entry.further_scores.get(further)) for further in board.further_names]
    row.append(len(entry.scores))
    return row


def _chance_row(board: Leaderboard, chance: float) -> list[object]:
    """Return the row of guessing, in the column of the balanced score if there is one."""
    cells = dict.fromkeys((*board.parts, "score", *board.further_names))
    column = "score"
    if BALANCED in cells:
        column = BALANCED
    cells[column] = percent(chance)
    return ["chance", *cells.values(), None]


def _limits(provenance: Provenance | None, *, calibrated: bool) -> Iterator[str]:
    probabilities = "its probabilities are not calibrated"
    if calibrated:
        probabilities = (
            "its probabilities were calibrated on labelled images of its own dataset, for its own "
            "classes alone"
        )
    yield (
        "It answers every image with one of its classes, also an image of none of them, and "
        f"{probabilities}."
    )
    if provenance and provenance.entry is not None:
        yield (
            "Its figures are of test images of the dataset that it was trained on. Images of "
            "another origin may be labelled much worse."
        )
        if provenance.trial.stage == "refit":
            yield (
                "The means are over models of several seeds that were trained on the shots alone; "
                "this one was trained once more, on more images."
            )
        elif len(provenance.entry.scores) > 1:
            yield (
                "The means are over models of several seeds; this is the one of seed "
                f"{provenance.trial.seed}."
            )
        missing = [
            candidate_name(label)
            for label in (TUNED, ZERO_SHOT)
            if not provenance.board.find_entry(label)
        ]
        if missing:
            yield f"It was not compared with {' and '.join(missing)}."
    yield (
        "It has the limits of its backbone, such as what that has learned of people from the "
        "internet. The licence of the backbone applies to its weights, and is not known here."
    )


def find_study_of(saved: SavedModel, word: str, storage: Path | None = None) -> Provenance | None:
    """Return the study that a model is from, with the trial; None if it is not found.

    Args:
        saved: the model.
        word: what the command names, such as a study or the path of a delta.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        StudyError: its files are damaged.
    """
    origin = saved.origin
    if not origin:
        return None
    # A delta mostly lies in its study, which may be in another folder than the studies here.
    folders = [StudyFolder(saved.delta.resolve().parent.parent.parent)]
    with suppress(StudyError):  # the word may name a registered model or a delta, and no study
        folders.append(find_study(word, storage))
    folders += studies(storage or default_storage())
    for folder in folders:
        study_id = None
        with suppress(StudyError):  # another study that is damaged is no reason to stop
            study_id = folder.read_identity()["study_id"]
        if study_id == origin.study_id:
            board = leaderboard(read_results(folder.path))
            for trial in board.trials:
                if trial.trial_id == origin.trial:
                    return Provenance(board, trial)
            return None
    return None
