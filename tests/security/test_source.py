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
OFF = ("trust_remote_code", "allow_pickle", "shell")
"""Arguments that may be given as False alone."""


def dangers(source: str) -> Iterator[str]:
    """Name what runs or unpickles, by line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            yield from (f"{node.lineno}: {n}" for n in names if n.partition(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in CALLS or called.rpartition(".")[2] in METHODS:
            yield f"{node.lineno}: {called}"
        if called == "yaml.load" and ast.unparse(node.args[1]) not in SAFE_LOADERS:
            yield f"{node.lineno}: {called}"
        for keyword in node.keywords:
            if keyword.arg in OFF and ast.unparse(keyword.value) != "False":
                yield f"{node.lineno}: {keyword.arg}"
            if keyword.arg == "use_safetensors" and ast.unparse(keyword.value) != "True":
                yield f"{node.lineno}: {keyword.arg}"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_no_module_unpickles_or_runs_what_it_reads(path: Path) -> None:
    assert list(dangers(path.read_text(encoding="utf-8"))) == []


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
def test_each_danger_would_be_found(line: str) -> None:
    assert list(dangers(line))


def test_what_is_safe_is_let_through() -> None:
    assert not list(
        dangers("yaml.load(text, _SafeLoader); json.load(f); f(trust_remote_code=False)")
    )
