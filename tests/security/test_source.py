"""No line of the package runs what a file or a checkpoint holds, beside what ruff's rules see."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import study

PACKAGE = Path(study.__file__ or "").parent
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "importlib.import_module"),
    *(
        "torch.load",
        "torch.jit.load",
        "numpy.load",
        "np.load",
        "pandas.read_pickle",
        "pd.read_pickle",
    ),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
}
METHODS = {"extractall", "unpack_archive", "read_pickle"}
SAFE = {"SafeLoader", "yaml.SafeLoader"}
"""Second arguments with which a call is safe."""
ONLY = {"trust_remote_code": "False", "allow_pickle": "False", "use_safetensors": "True"}
"""Arguments that may be given with one value alone."""


def dangers(source: str) -> Iterator[str]:
    """Name what runs or unpickles."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.partition(".")[0] in MODULES)
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in MODULES:
            yield str(node.module)
        if isinstance(node, ast.Call):
            called, arguments = ast.unparse(node.func), {ast.unparse(one) for one in node.args}
            is_dangerous = called in CALLS or called.rpartition(".")[2] in METHODS
            if is_dangerous and not arguments & SAFE:
                yield called
            for keyword in node.keywords:
                value = ast.unparse(keyword.value)
                if value != ONLY.get(str(keyword.arg), value):
                    yield str(keyword.arg)


def test_no_module_unpickles_or_runs_what_it_reads():
    found = {path: list(dangers(path.read_text())) for path in PACKAGE.rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "from joblib import load", "exec(text)", "archive.extractall(folder)"),
        *("torch.load(path, weights_only=False)", "yaml.load(text, yaml.Loader)"),
        "AutoModel.from_pretrained(name, trust_remote_code=given)",
        "CLIPModel.from_pretrained(name, use_safetensors=False)",
    ],
)
def test_each_danger_would_be_found(line: str):
    assert list(dangers(line))
