"""Print the size of each dependency that is installed, and how long its import takes.

The size is that of its own files, the time that of this process, with what it imports itself.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

MODULES = {
    "huggingface-hub": "huggingface_hub",
    "open_clip_torch": "open_clip",
    "pillow": "PIL.Image",
    "protobuf": "google.protobuf",
    "pyyaml": "yaml",
    "ray": "ray.tune",
    "scikit-learn": "sklearn.ensemble",
    "scipy": "scipy.stats",
    "transformers": "transformers.models.clip.modeling_clip",
}
"""What is imported of libraries whose module has another name."""
CODE = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def main() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    for extra, requirements in {"": project["dependencies"], **extras}.items():
        if extra in ("dev", "test"):
            continue
        for requirement in requirements:
            name = re.split(r"[\[><=!]", requirement)[0]
            try:
                found = distribution(name)
            except PackageNotFoundError:
                continue
            files = [Path(str(file.locate())) for file in found.files or ()]
            size = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
            code = CODE.format(MODULES.get(name, name))
            seconds = min(
                float(subprocess.check_output([sys.executable, "-c", code], text=True))
                for _ in range(3)
            )
            print(f"| {name} {found.version} | {extra} | {size:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
