"""The model card of an exported model: what it is, how it was chosen, and how it is used.

It is Markdown with the front matter of the Hugging Face hub. It says what is known alone: a file of
tuned parameters knows no dataset and no score. It has no licence, since that of the backbone is
not known.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from study.backbones.description import EMBEDDED, NAME_ON_HUB
from study.config.labels import TUNED, ZERO_SHOT
from study.config.shipped import repeating_command
from study.errors import StudyError
from study.method.delta import load_delta, without_head
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
"""What a card says of a model whose study is not known."""
_ASKED = ("Dataset", "Protocol", "Images", "Choice", "Training", "Search", "Test")
"""The rows of a report's table of what was asked that a card has as well."""


@dataclass(frozen=True)
class Provenance:
    """The study that a model is from, and the trial that trained it."""

    board: Leaderboard
    trial: TrialResult

    @property
    def entry(self) -> Entry | None:
        """The configuration of the trial among those that were tested; None if it was not."""
        return self.board.find_entry(self.trial.label) if self.trial.stage == "confirm" else None


def model_card(
    saved: SavedModel, chosen: Format, written: ExportGuide, tested: Provenance | None
) -> str:
    """Return the text of a model card.

    Args:
        saved: the model.
        chosen: the format that it was written in.
        written: what the format says of its files.
        tested: the study that the model is from; None where it is not known.
    """
    dataset = tested.board.study.config.data.dataset if tested else None
    of = f" for {markdown_text(dataset)}" if dataset else ""
    blocks = [
        front_matter(saved, chosen, tested is not None and tested.entry is not None),
        f"# CLIP tuned by CLIPFit{of}",
        f"This is {chosen.title} with {_name(saved)}, made by clipfit-study. CLIPFit ([Li et al., "
        f"EMNLP 2024]({PAPER})) adapts CLIP to a few labelled images per class by training numbers "
        "that CLIP already has.",
        "## Use",
        f"```python\n{written.loading}```",
        *written.notes,
        "This needs no code of clipfit-study. `classes.json` has the class names and the prompts. "
        "Images are to be upright and opaque: clipfit-study itself turns photographs as their EXIF "
        "tag says, and makes transparent pixels white.",
        "## What was tuned",
        *_tuned(saved),
        *(_of_study(tested) if tested else [OF_UNKNOWN]),
        "## Limits",
        "\n".join(f"- {line}" for line in (*_limits(tested), *written.limits)),
    ]
    return "\n\n".join(blocks) + "\n"


def front_matter(saved: SavedModel, chosen: Format, measured: bool) -> str:
    """Return the front matter, in YAML whose values are JSON, which is a part of it."""
    name = saved.info.backbone
    values: dict[str, object] = {"library_name": chosen.library}
    if name != EMBEDDED and NAME_ON_HUB.fullmatch(name):
        values["base_model"] = name
    values["pipeline_tag"] = chosen.task
    values["tags"] = ["clip", "clipfit", "few-shot", "image-classification"]
    if measured:
        values["metrics"] = ["accuracy"]
    return "\n".join(["---", *(f"{key}: {json.dumps(v)}" for key, v in values.items()), "---"])


def _name(saved: SavedModel) -> str:
    """Return what the model is; of a file not its path, since cards are shared."""
    return markdown_text(saved.name) if saved.origin else "the tuned parameters of a trial"


def _tuned(saved: SavedModel) -> Iterator[str]:
    info, settings = saved.info, saved.settings
    tensors = without_head(load_delta(saved.delta)[0])
    numbers = sum(tensor.numel() for tensor in tensors.values())
    peer = find_peer(tensors)
    what, explained = f"`{settings.subset}`", subset_in_words(settings.subset)
    if peer is not None:
        what, explained = f"`{peer}`", ((peer, PEERS[peer].title),)
    head = settings.head == "linear"
    lines = [
        f"Backbone: {backbone_in_words(saved)}.",
        f"Tuned: {what}, {format_count(numbers)} numbers of it"
        + "".join(f"; `{term}` is {words}" for term, words in explained)
        + ".",
        f"Strength: {_strength(saved)}.",
        "Head: "
        + (
            "a linear layer on the image features, which begins at the text features."
            if head
            else "the text features of the prompts."
        ),
        f"Prompts: {', '.join(f'“{markdown_text(text)}”' for text in info.templates)}.",
        f"Classes: {_names(info.class_names)}.",
    ]
    yield "\n".join(f"- {line}" for line in lines)


def _strength(saved: SavedModel) -> str:
    if saved.origin is None:  # a file has the parameters at its strength, and not the number
        return "which share of the tuned change is kept is not known here; it is applied already"
    strength = saved.settings.strength
    if strength == 1.0:
        return "all of the tuned change is kept"
    return f"{percent(strength, 0)} % of the tuned change is kept, which is applied already"


def backbone_in_words(saved: SavedModel) -> str:
    """Return which checkpoint was tuned; of a folder only the last name, since cards are shared."""
    info = saved.info
    if info.backbone == EMBEDDED:
        name = "the small CLIP that comes with clipfit-study"
    else:
        name = f"`{saved.backbone_name}`"
    revision = f", revision `{info.revision}`" if info.revision else ""
    return f"{name}{revision} (fingerprint `{info.fingerprint}`)"


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(markdown_text, names[:MOST_NAMES]))
    rest = len(names) - MOST_NAMES
    return f"{len(names)}: {shown}" + (f" and {rest} more, see `classes.json`" if rest > 0 else "")


def _of_study(tested: Provenance) -> Iterator[str]:
    board, trial = tested.board, tested.trial
    study = board.study
    rows = [row for row in configuration_rows(board) if row[0] in _ASKED]
    yield "## Data and choice"
    yield "\n".join(f"- {name}: {markdown_text(text).rstrip('.')}." for name, text in rows)
    yield (
        f"This is trial {markdown_text(trial.trial_id)} of study {markdown_text(board.folder.name)}"
        f", with seed {trial.seed} ({markdown_text(settings_in_words(trial.settings))})."
    )
    yield "## Figures"
    yield from _figures(tested)
    if command := repeating_command(study.config):
        yield "## Repeat"
        yield (
            "This command runs a study of the same configuration. Paths in it are the last names "
            "of folders and files."
        )
        yield f"```sh\n{command}\n```"


def _figures(tested: Provenance) -> Iterator[str]:
    board, entry, trial = tested.board, tested.entry, tested.trial
    if entry is None:
        optimism = board.optimism.of(trial.val_score) if board.optimism else ""
        yield (
            "This trial was not tested: no test image was read for it. On validation it scores "
            f"{percent(trial.val_score)} %{optimism}."
        )
        return
    shown = {e.label: e for e in (board.find_entry(TUNED), board.find_entry(ZERO_SHOT)) if e}
    others = [e for e in shown.values() if e is not entry]
    rows: list[list[object]] = [
        [
            name,
            *score_cells(board.parts, one.parts, one.test),
            *(format_mean(one.further_scores.get(further)) for further in board.further_names),
            len(one.scores),
        ]
        for name, one in (
            (f"this configuration: {entry_name(board, entry)}", entry),
            *((entry_name(board, other), other) for other in others),
        )
    ]
    alone = [
        percent(trial.test.get(name)) for name in (*board.parts, "score", *board.further_names)
    ]
    rows.insert(1, [f"this model alone, seed {trial.seed}", *alone, 1])
    if board.chance is not None:
        unknown = [None] * len(board.parts)
        further = [
            percent(board.chance) if name == BALANCED else None for name in board.further_names
        ]
        of_score = None if BALANCED in board.further_names else percent(board.chance)
        rows.append(["chance", *unknown, of_score, *further, None])
    metric = board.metric if board.parts else "test accuracy"
    header = [
        "",
        *score_header(board.parts, metric),
        *further_header(board),
        "seeds",
    ]
    yield Table("", header, rows).markdown()
    guess = board.protocol.guess
    yield (
        "Scores on test images, in percent: the mean over seeds, each with its own training "
        "images, and its 95 % interval over seeds and test images together. "
        + markdown_text(" ".join(leaderboard_scope(board)) + " ")
        + markdown_text(f"{further_note(board)} Chance: {guess[0].lower()}{guess[1:]}.")
    )
    if not entry.is_chosen:
        yield (
            "Validation did not choose this configuration, "
            f"“{markdown_text(entry_name(board, entry))}”. What the study found of its choice:"
        )
    yield " ".join(map(markdown_text, verdict(board)))


def _limits(tested: Provenance | None) -> Iterator[str]:
    yield (
        "It answers every image with one of its classes, also an image of none of them, and its "
        "probabilities are not calibrated."
    )
    if tested and tested.entry:
        yield (
            "Its figures are of test images of the dataset that it was trained on. Images of "
            "another origin may be labelled much worse."
        )
        if len(tested.entry.scores) > 1:
            yield (
                "The means are over models of several seeds; this is the one of seed "
                f"{tested.trial.seed}."
            )
        board = tested.board
        if rivals := [
            candidate_name(label) for label in (TUNED, ZERO_SHOT) if not board.find_entry(label)
        ]:
            yield f"It was not compared with {' and '.join(rivals)}."
    yield (
        "It has the limits of its backbone, such as what that has learned of people from the "
        "internet. The licence of the backbone applies to its weights, and is not known here."
    )


def find_study_of(saved: SavedModel, word: str, storage: Path | None = None) -> Provenance | None:
    """Return the study that a model is from, with the trial; None if it is not here.

    Args:
        saved: the model.
        word: what the command names, such as a study or the path of a delta.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        StudyError: its files are damaged.
    """
    origin = saved.origin
    if origin is None:
        return None
    # A delta mostly lies in its study, which may be in another folder than the studies here.
    places = [StudyFolder(saved.delta.resolve().parent.parent.parent)]
    with suppress(StudyError):  # a model of the registry is no study, nor is a delta
        places.append(find_study(word, storage))
    places += studies(Path(storage or default_storage()))
    found = next((place for place in places if _study_id(place) == origin.study_id), None)
    if found is None:
        return None
    board = leaderboard(read_results(found.path))
    return next(
        (Provenance(board, one) for one in board.trials if one.trial_id == origin.trial), None
    )


def _study_id(folder: StudyFolder) -> str | None:
    with suppress(StudyError):  # another study that is damaged is no reason to stop
        return str(folder.read_identity()["study_id"])
    return None
