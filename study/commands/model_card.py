"""The model card of an exported model: what it is, how it was chosen, and how it is used.

It is Markdown with the front matter of the Hugging Face hub. Without the study of a model, the card
has no dataset and no score. It has no licence, since that of the backbone is not known.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from study.backbones.description import EMBEDDED, NAME_ON_HUB
from study.commands.find import find_study
from study.config.labels import TUNED, ZERO_SHOT
from study.config.shipped import repeating_command
from study.config.trial_settings import HEADS
from study.errors import StudyError
from study.method.delta import load_delta, without_head
from study.method.peers import PEERS, find_peer
from study.process.templates import templates
from study.report.configuration_table import configuration_rows
from study.report.formatting import Table, format_alone, format_count, markdown_text, percent
from study.report.leaderboard_tables import main_table
from study.report.names import candidate_name, entry_name
from study.report.setting_descriptions import settings_in_words
from study.report.verdict import further_note, leaderboard_scope, verdict
from study.results.chance import BALANCED
from study.results.rows import Row
from study.results.study_result import StudyResult, read_study_result
from study.results.trial_results import TrialResult
from study.serving.exports.format import ExportGuide, Format
from study.serving.saved_model import SavedModel
from study.storage.command_lines import default_storage
from study.storage.study_folder import StudyFolder, studies

MOST_NAMES = 60
"""The most class names that a card lists; `classes.json` has all of them."""
_STUDY_ROWS = ("Dataset", "Protocol", "Images", "Choice", "Training", "Search", "Test")
"""The rows of a report's table of the configuration that a card has as well."""


class Provenance(NamedTuple):
    """The study that a model is from, and the trial that trained it."""

    board: StudyResult
    trial: TrialResult

    @property
    def entry(self) -> Row | None:
        """The entry of the trial's configuration on the leaderboard; None if it was not tested."""
        if self.trial.stage not in ("test", "final"):
            return None
        return self.board.find_row(self.trial.label)


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
    environment = templates(Path(__file__).parent, keep_trailing_newline=True)
    environment.filters.update(text=markdown_text, percent=percent)
    name = saved.info.backbone
    card = environment.get_template("model_card.md.jinja").render(
        saved=saved,
        exported=exported,
        guide=guide,
        provenance=provenance,
        embedded=EMBEDDED,
        is_on_hub=name != EMBEDDED and NAME_ON_HUB.fullmatch(name),
        most_names=MOST_NAMES,
        **_describe_tuning(saved),
        configuration_rows=configuration_rows,
        study_rows=_STUDY_ROWS,
        repeating_command=repeating_command,
        references=(TUNED, ZERO_SHOT),
        candidate_name=candidate_name,
        entry_name=entry_name,
        further_note=further_note,
        leaderboard_scope=leaderboard_scope,
        score_table=_score_table,
        settings_in_words=settings_in_words,
        verdict=verdict,
    )
    return str(card)


def _describe_tuning(saved: SavedModel) -> dict[str, object]:
    """Return what the template says of the tuned parameters."""
    tensors = without_head(load_delta(saved.delta)[0])
    peer = find_peer(tensors)
    terms = [] if peer is None else [(peer, PEERS[peer].title)]
    numbers = format_count(sum(tensor.numel() for tensor in tensors.values()))
    return {"peer": peer, "terms": terms, "numbers": numbers}


def _score_table(board: StudyResult, entry: Row, trial: TrialResult) -> Table:
    """Return the scores of a model, its configuration, its rivals, and chance."""
    main = main_table(board)
    end = main.header.index("seeds") + 1
    scores = {other.label: row[1:end] for other, row in zip(board.rows, main.rows, strict=True)}
    names = {entry.label: f"this configuration: {entry_name(entry)}"}
    for rival in (board.find_row(TUNED), board.find_row(ZERO_SHOT)):
        if rival:
            names.setdefault(rival.label, entry_name(rival))
    rows = [[name, *scores[label]] for label, name in names.items()]
    heads = [f"score_{head}" for head in HEADS if f"{head} head" in main.header]
    columns = (*board.parts, "score", *heads, *board.score_names.further)
    scores_alone = board.scores_alone(trial)
    alone = [format_alone(scores_alone.get(column)) for column in columns]
    rows.insert(1, [f"this model alone, seed {trial.seed}, over test images", *alone, 1])
    if board.chance is not None:
        cells = dict.fromkeys(columns)
        cells[BALANCED if BALANCED in cells else "score"] = percent(board.chance)
        rows.append(["chance", *cells.values(), None])
    return Table("", ["", *main.header[1:end]], rows)


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
            board = read_study_result(folder.path)
            for trial in board.trial_results:
                head = trial.settings.head  # a test is listed once for each head in use
                if (trial.trial_id, head) == (origin.trial, saved.settings.head):
                    return Provenance(board, trial)
            return None
    return None
