"""No line of the package runs what a file or a checkpoint holds, beside what ruff's rules see."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import study

PACKAGE = Path(study.__file__ or "").parent
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "load", "unsafe_load", "full_load", "load_all"),
    *("import_module", "extractall", "unpack_archive", "read_pickle"),
}
"""The last parts of names that load or run; `SAFE` has the calls that may."""
SAFE = {"json.load", "yaml.load(text, _SafeLoader)", "re.compile", "onnx.load", "Model.load"}
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
            called = ast.unparse(node.func)
            is_safe = called in SAFE or ast.unparse(node) in SAFE
            if called.rpartition(".")[2] in CALLS and not is_safe:
                yield ast.unparse(node)
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
