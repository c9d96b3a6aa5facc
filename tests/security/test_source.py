"""No line of the package runs what a file or a checkpoint holds."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import study

PACKAGE = Path(study.__file__ or "").parent
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "numpy.load", "np.load"),
    *("torch.load", "torch.jit.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
    *("pandas.read_pickle", "pd.read_pickle", "pd.eval", "importlib.import_module"),
}
METHODS = {"extractall", "unpack_archive", "read_pickle"}
SAFE_LOADERS = {"_SafeLoader", "yaml.SafeLoader"}
ONLY = {
    **dict.fromkeys(["trust_remote_code", "allow_pickle", "shell"], "False"),
    "use_safetensors": "True",
}
"""Arguments that may be given with one value alone."""


def dangers(source: str) -> Iterator[str]:
    """Name what runs or unpickles."""
    for node in ast.walk(ast.parse(source)):
        dangerous = []
        if isinstance(node, ast.Import):
            dangerous = [a.name for a in node.names if a.name.partition(".")[0] in MODULES]
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in MODULES:
            dangerous = [str(node.module)]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in CALLS or called.rpartition(".")[2] in METHODS:
                dangerous.append(called)
            if called == "yaml.load" and ast.unparse(node.args[1]) not in SAFE_LOADERS:
                dangerous.append(called)
            for keyword in node.keywords:
                value = ast.unparse(keyword.value)
                if value != ONLY.get(str(keyword.arg), value):
                    dangerous.append(str(keyword.arg))
        yield from dangerous


def test_no_module_unpickles_or_runs_what_it_reads():
    found = {
        str(path.relative_to(PACKAGE)): list(dangers(path.read_text()))
        for path in PACKAGE.rglob("*.py")
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "exec(text)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=given)",
        "CLIPModel.from_pretrained(name, use_safetensors=False)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
    ],
)
def test_each_danger_would_be_found(line: str):
    assert list(dangers(line))


def test_what_is_safe_is_let_through():
    assert not list(
        dangers("yaml.load(text, _SafeLoader); json.load(f); f(trust_remote_code=False)")
    )
