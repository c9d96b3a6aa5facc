"""Measurements of the embedded checkpoint, and their record."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from study.embedded.measure import Bench, Setting
from study.method.model import load_backbone
from study.protocols import BaseToNew, FewShot, Protocol

logger = logging.getLogger(__name__)

RATES = (0.0005, 0.002, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"


def evaluate(folder: Path, seeds: Sequence[int]) -> None:
    """Print zero-shot and tuned accuracies, and write them to zero_shot.json.

    Args:
        folder: the folder of the checkpoint.
        seeds: the seeds of every tuned accuracy.
    """
    backbone = load_backbone(folder)
    benches = {name: Bench(name, backbone) for name in ("digits", "glyphs")}
    found: dict[str, Any] = {
        "fingerprint": backbone.fingerprint,
        "parameters": sum(p.numel() for p in backbone.clip.parameters()),
        "zero_shot": {name: bench.zero_shot() for name, bench in benches.items()},
    }

    def measure(title: str, dataset: str, protocol: Protocol, settings: Iterable[Setting]) -> None:
        rows = []
        for setting in settings:
            scores = benches[dataset].mean(setting, protocol=protocol, seeds=seeds)
            rows.append({"setting": str(setting), **scores})
            logger.info("%s: %s", title, rows[-1])
        found[title] = {
            "dataset": dataset,
            "protocol": protocol.name,
            "seeds": len(seeds),
            "rows": rows,
        }

    clipfit = [Setting(CLIPFIT, {"bias": rate, "ln": rate}, 2) for rate in RATES]
    subsets = [
        Setting(subset, {"bias": rate, "ln": rate}, 2)
        for subset in (CLIPFIT, "text.bias", "vision.bias", "bitfit", "vision.ln", "ln")
        for rate in (0.02, 0.1)
    ]
    weights = [
        Setting("text.mlp.fc2.bias", {"bias": rate}, weight)
        for rate in (0.002, 0.02)
        for weight in (0, 2, 8)
    ]
    measure("clipfit_by_learning_rate", "digits", FewShot(), clipfit)
    measure("subsets", "digits", FewShot(), subsets)
    measure("text_bias_by_distill_weight", "digits", BaseToNew(), weights)
    measure("clipfit_base_to_new", "digits", BaseToNew(), clipfit[1::2])
    measure("clipfit_glyphs", "glyphs", BaseToNew(), clipfit[1::2])
    measure("text_bias_glyphs", "glyphs", BaseToNew(), weights)

    console = Console()
    for name, scores in found["zero_shot"].items():
        console.print(_table(f"zero-shot, {name}", [scores]))
    for title, block in found.items():
        if isinstance(block, dict) and "rows" in block:
            console.print(_table(f"{title}, {block['dataset']}", block["rows"]))
    target = folder / "zero_shot.json"
    rounded = json.loads(json.dumps(found), parse_float=lambda digits: round(float(digits), 4))
    target.write_text(json.dumps(rounded, indent=2, ensure_ascii=False) + "\n", "utf-8")
    console.print(f"written: {target}")


def _table(title: str, rows: list[Mapping[str, Any]]) -> Table:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    return table


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}" if name == "seconds" else f"{100 * value:.1f} %"
