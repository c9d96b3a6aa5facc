"""What importing the package costs, and needs; `lint-imports` checks what imports what."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "study"

LIGHT = [
    (
        "study study.run study.commands.main study.commands.find study.config.methods "
        "study.method.subsets study.trial.study",
        "PIL matplotlib mlflow optuna ray rich sklearn torch transformers",
    ),
    ("study.trial.run_trial", "PIL matplotlib mlflow optuna ray"),
    (
        "study.results.study_result study.report.page study.method.delta "
        "study.backbones.load_backbone study.serving.classifier study.serving.exports "
        "study.data.readers.huggingface study.method.lora study.serving.exports.onnx "
        "study.tracking.mlflow.mlflow_tracker",
        "datasets matplotlib mlflow onnx onnxruntime optuna peft ray transformers",
    ),
]
"""Modules that are imported one after another, and the libraries that this must not import."""


def test_libraries_are_imported_when_they_are_needed():
    code = "import importlib, sys\n"
    for modules, libraries in LIGHT:
        code += f"for name in {modules.split()}: importlib.import_module(name)\n"
        code += f"print([name for name in {libraries.split()} if name in sys.modules])\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"] * len(LIGHT)


def test_no_module_has_the_name_of_a_library():
    """``python study/run.py`` puts study/ first on the path: a namesake would shadow a library."""
    ours = {path.stem for path in STUDY.iterdir() if path.suffix == ".py" or path.is_dir()}
    ours -= {"__init__", "__pycache__"}
    theirs = set(sys.stdlib_module_names) | set(packages_distributions())
    assert not ours & theirs


def test_every_library_that_is_imported_is_a_dependency():
    """A library that another one happens to bring may be gone with its next release."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = (
        text for name in ("hf", "lora", "onnx", "openclip", "peft") for text in extras[name]
    )
    wanted = (text.split(">")[0].split("[")[0] for text in [*project["dependencies"], *optional])
    declared = {name.strip().lower().replace("-", "_") for name in wanted}
    graph = grimp.build_graph("study", include_external_packages=True)
    imported = {name for name in graph.modules if graph.is_module_squashed(name)}
    distributions = packages_distributions()
    for library in imported - sys.stdlib_module_names:
        names = {name.lower().replace("-", "_") for name in distributions[library]}
        assert names & declared, library
