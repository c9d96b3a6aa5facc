"""Ways to search, tried on the recorded configurations: an example to put one's own into.

    python replay.py                                # 200 repetitions of each way, on both studies
    python replay.py --epochs 200 --repetitions 20

It needs pandas, pyarrow and scikit-learn, and nothing of the package that recorded them. A way to
search is a generator like those in `WAYS`. It yields the number of a row and an epoch, to train
that configuration as far, and receives the validation scores of its epochs so far.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor

Search = Generator[tuple[int, int], np.ndarray, None]
Way = Callable[[pd.DataFrame, np.random.Generator], Search]
LAST = 20
"""The last epoch of a configuration that trains at all."""


def at_random(table: pd.DataFrame, rng: np.random.Generator) -> Search:
    """Train configurations to their last epoch, in any order."""
    for row in rng.permutation(len(table)):
        yield row, LAST


def halved(table: pd.DataFrame, rng: np.random.Generator) -> Search:
    """Go on after epochs 3 and 9 only with the best third of those that came as far."""
    scores_at = defaultdict(list)
    for row in rng.permutation(len(table)):
        for epoch in (3, 9, LAST):
            score = (yield row, epoch)[-1]
            scores_at[epoch].append(score)
            if score < np.quantile(scores_at[epoch], 2 / 3):
                break


def by_forest(table: pd.DataFrame, rng: np.random.Generator) -> Search:
    """Train what a forest expects most of, by the mean and the spread of its trees."""
    sites = table.subset.str.replace(r"\[.*?\]", "", regex=True).str.get_dummies(" + ")
    numbers = table[["bias_lr", "ln_lr", "distill_weight"]].fillna(0).clip(lower=1e-6)
    features = np.hstack([sites, np.log10(numbers), (table["head"] == "linear").to_frame()])
    scores = {}
    for row in rng.permutation(len(table))[:10]:
        scores[row] = (yield row, LAST)[-1]
    while len(scores) < len(table):
        forest = ExtraTreesRegressor(30, min_samples_leaf=2, random_state=len(scores))
        forest.fit(features[[*scores]], [*scores.values()])
        expected = np.array([tree.predict(features) for tree in forest.estimators_])
        promise = expected.mean(axis=0) + expected.std(axis=0)
        promise[[*scores]] = -1.0
        row = int(promise.argmax())
        scores[row] = (yield row, LAST)[-1]


WAYS: dict[str, Way] = {"at random": at_random, "halved": halved, "by a forest": by_forest}


def replay(table: pd.DataFrame, way: Way, epochs: int, seed: int) -> float:
    """Return the test score of what validation chooses once so many epochs are trained."""
    search = way(table, np.random.default_rng(seed))
    trained: dict[int, int] = {}
    row, epoch = next(search)
    while True:
        epoch = min(epoch, table.epochs[row])
        epochs -= max(0, epoch - trained.get(row, 0))
        if epochs < 0:
            break
        trained[row] = max(epoch, trained.get(row, 0))
        try:
            row, epoch = search.send(table.validation[row][: max(epoch, 1)])
        except StopIteration:
            break
    finished = [row for row, epoch in trained.items() if epoch == table.epochs[row]]
    chosen = max(finished, key=lambda row: float(table.validation[row][-1]))
    return float(table[["test_1", "test_2"]].mean(axis=1)[chosen])


def main() -> None:
    """Print what each way to search comes to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=450, help="to train, in all")
    parser.add_argument("--repetitions", type=int, default=200)
    options = parser.parse_args()
    if options.epochs < LAST:
        parser.error(f"--epochs: {options.epochs} train no configuration to its last, {LAST}")
    for path in sorted(Path(__file__).parent.glob("*.parquet")):
        table = pd.read_parquet(path)
        print(f"{path.stem}: test % of the choice after {options.epochs} epochs")
        for name, way in WAYS.items():
            seeds = range(1, 1 + options.repetitions)
            tests = [100 * replay(table, way, options.epochs, seed) for seed in seeds]
            low, median, high = np.percentile(tests, (25, 50, 75))
            print(f"  {name:12} {median:.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
