"""A recorded world: what each of many configurations scored, epoch by epoch, and on test.

A world is recorded once, by training, and kept as Parquet; `worlds/README.md` describes its
columns. Replayed searches ask it for the scores of any configuration of the space: a surrogate
answers, which was fitted to what was recorded.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict

from study.backbones.architecture import ENCODERS, Depths
from study.config.trial_settings import TrialSettings, rate_column
from study.method.parameters import kind_names, parameter_name
from study.method.subsets import list_sites, parse
from study.storage.ledger_files import JsonObject

PLAIN = [
    ("source", pa.string()),
    ("subset", pa.string()),
    *((rate_column(kind), pa.float64()) for kind in kind_names()),
    ("distill_weight", pa.float64()),
    ("head", pa.string()),
    ("strength", pa.float64()),
    ("epochs", pa.int32()),
]
"""The columns before those of scores, and their types."""
TREES = 100
NEIGHBOURS = 30
"""Among how many recorded configurations, predicted to validate alike, the noise is drawn."""
PARTS = 10
"""The number of parts of a world, each of which is predicted from the others."""
ENOUGH = 0.8
"""The least held-out rank correlation of a surrogate whose answers mean something."""


@dataclass(frozen=True)
class Row:
    """A configuration, trained on the folds of one draw of shots and tested on further draws."""

    source: str
    """The chain that it is of, such as ``tpe-3``."""
    settings: TrialSettings
    validation: Sequence[float]
    """The validation score after each epoch, a fraction."""
    folds: Sequence[Sequence[float]]
    """The validation score of each fold alone after each epoch."""
    test: Sequence[float]
    """The test score on each further draw."""


@dataclass(frozen=True)
class Curve:
    """What a configuration scores in a replay."""

    validation: Sequence[float]
    """The validation score after each epoch, with the noise of one training."""
    test: float
    """The mean test score, without noise."""


@dataclass(frozen=True)
class World:
    """The recorded configurations of one study."""

    rows: Sequence[Row]
    depths: Depths

    @classmethod
    def read(cls, path: Path) -> World:
        """Read a world that `write` wrote."""
        table = pq.read_table(path)
        about = table.schema.metadata
        depths = Depths(text=int(about[b"text_layers"]), vision=int(about[b"vision_layers"]))
        names = table.column_names
        folds = [name for name in names if name.startswith("fold_")]
        tests = [name for name in names if name.startswith("test_")]
        rows = []
        for values in table.to_pylist():
            row = Row(
                source=values["source"],
                settings=TrialSettings.from_column_values(values),
                validation=values["validation"],
                folds=[*zip(*(values[name] for name in folds), strict=True)],
                test=[values[name] for name in tests],
            )
            rows.append(row)
        return cls(rows, depths)

    def write(self, path: Path, about: Mapping[str, str]) -> None:
        """Write it as Parquet; scores have the precision of float32.

        Args:
            path: the file.
            about: what the file says of itself, beside the layers of the encoders.
        """
        values = []
        for row in self.rows:
            columns: JsonObject = {"source": row.source, **row.settings.column_values()}
            columns["epochs"] = len(row.validation) if row.settings.rates else 0
            columns["validation"] = row.validation
            for number, scores in enumerate(zip(*row.folds, strict=True), start=1):
                columns[f"fold_{number}"] = scores
            for number, score in enumerate(row.test, start=1):
                columns[f"test_{number}"] = score
            values.append(columns)
        scores = pa.list_(pa.float32())
        fields = [*PLAIN, ("validation", scores)]
        fields += [(f"fold_{number}", scores) for number in range(1, 1 + self.folds)]
        fields += [(f"test_{number}", pa.float32()) for number in range(1, 1 + len(row.test))]
        layers = {"text_layers": f"{self.depths.text}", "vision_layers": f"{self.depths.vision}"}
        table = pa.Table.from_pylist(values, pa.schema(fields, {**about, **layers}))
        pq.write_table(table, path, compression="zstd", compression_level=19)

    @property
    def epochs(self) -> int:
        """The number of epochs of each configuration that tunes CLIP."""
        return max(len(row.validation) for row in self.rows)

    @property
    def folds(self) -> int:
        """The number of folds on which each configuration was trained."""
        return len(self.rows[0].folds[0])

    @cached_property
    def held_out(self) -> tuple[float, float]:
        """The rank correlation of validation, and of test, with what the other parts predict."""
        correlations = []
        for column in (self.epochs - 1, -1):
            pair = self._targets[:, column], self._held_out_targets[:, column]
            correlations.append(float(stats.spearmanr(*pair).statistic))
        return correlations[0], correlations[1]

    @cached_property
    def best(self) -> float:
        """The highest mean test score, as the other parts of the world predict it.

        So it has no luck of its own, which no other configuration could reach.
        """
        return float(self._held_out_targets[:, -1].max())

    def ask(self, settings: TrialSettings, seed: int) -> Curve:
        """Return what a configuration scores in a replay; the same whenever it is asked for.

        The noise is that of recorded configurations which are predicted to validate alike.

        Args:
            settings: the configuration.
            seed: the seed of the replay, which draws other noise.
        """
        asked = self._encode(settings)[None].astype(np.float32)
        # The forest's own method sets up its workers for each single configuration, and a tree's
        # looks at what it is asked; both take longer than the answer.
        trees = self._forest.estimators_
        targets = np.mean([tree.tree_.predict(asked)[0, :, 0] for tree in trees], axis=0)
        at = self.epochs - 1
        distance = abs(self._held_out_targets[:, at] - targets[at])
        alike = np.argsort(distance, kind="stable")[:NEIGHBOURS]
        draw = zlib.crc32(f"{seed}/{settings.model_dump_json()}".encode())
        residual = self._residuals[np.random.default_rng(draw).choice(alike)]
        *validation, _, _ = np.clip(targets + residual, 0.0, 1.0).tolist()
        return Curve(validation, float(targets[-1]))

    @cached_property
    def _features(self) -> np.ndarray:
        return np.stack([self._encode(row.settings) for row in self.rows])

    @cached_property
    def _targets(self) -> np.ndarray:
        """Validation scores by epoch, the last of the first fold, then the mean test score."""
        return np.stack([self._target(row) for row in self.rows])

    @cached_property
    def _forest(self) -> ExtraTreesRegressor:
        return _forest().fit(self._features, self._targets)

    @cached_property
    def _held_out_targets(self) -> np.ndarray:
        parts = KFold(PARTS, shuffle=True, random_state=0)
        return cross_val_predict(_forest(), self._features, self._targets, cv=parts)

    @cached_property
    def _residuals(self) -> np.ndarray:
        return self._targets - self._held_out_targets

    def _target(self, row: Row) -> np.ndarray:
        # What is not trained has one score, which every epoch has.
        scores = np.repeat(row.validation, self.epochs // len(row.validation))
        return np.array([*scores, row.folds[-1][0], np.mean(row.test)])

    def _encode(self, settings: TrialSettings) -> np.ndarray:
        """Return which tensors are tuned, how fast, and what classifies."""
        sites = " + ".join(f"{e}.{site}" for e in ENCODERS for site in list_sites(e, "clip"))
        every = sorted(parse(sites).resolve(self.depths), key=parameter_name)
        leaves = parse(settings.subset).resolve(self.depths)
        rates = [np.log10(settings.rates.get(kind, 1e-6)) for kind in kind_names()]
        return np.array(
            [
                *(leaf in leaves for leaf in every),
                *rates,
                np.log10(settings.distill_weight or 1e-6),
                settings.head == "linear",
                settings.strength,
                len(leaves),
            ],
            dtype=np.float64,
        )


def _forest() -> ExtraTreesRegressor:
    return ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0)
