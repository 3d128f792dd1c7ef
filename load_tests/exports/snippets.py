"""Runs the snippets of models/EXPORT.md as they stand, and serves what they write.

The answers are compared with what the library predicts. PyTorch and Hugging Face need some
gigabytes of packages, and are run where they are asked for.

    .venv/bin/python -m load_tests.exports.snippets [--torch]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from load_tests.exports.__main__ import judge
from load_tests.exports.environment import HERE, exports_python
from load_tests.servers import ROOT

PAGE = ROOT / "models" / "EXPORT.md"
TORCH = ("PyTorch", "Hugging Face")

_SAVE = """
import numpy as np
labels = np.asarray(model.predict(rows)).ravel().astype(str)
np.savez("predicted.npz", **{"in %s": rows, "out 0": labels, "out 1": model.predict_proba(rows)})
"""
INPUTS = {"scikit-learn": "X", "XGBoost": "rows", "LightGBM": "rows", "CatBoost": "features"}
"""What the converter calls the input, by the section."""

_TINY = HERE / "tiny_transformer.py"


def snippets(page: str) -> dict[str, str]:
    """The Python of each section by its title."""
    found = {}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        if "```python\n" in text:
            found[title] = text.partition("```python\n")[2].partition("```")[0]
    return found


def run(title: str, code: str, folder: Path) -> None:
    """Runs a snippet in a folder of its own, which then has its file and `predicted.npz`."""
    folder.mkdir(parents=True)
    python = exports_python("torch.txt" if title in TORCH else "requirements.txt")
    if title == "Hugging Face":  # the hub's model is replaced by a small one, made here
        subprocess.run([python, str(_TINY)], cwd=folder, check=True)
        code = code.replace("distilbert-base-uncased-finetuned-sst-2-english", "tiny")
        after = _TINY.read_text()
    elif title == "PyTorch":
        after = (
            "import numpy as np; "
            "np.savez('predicted.npz', **{'in rows': rows, 'out 0': net(rows).detach()})"
        )
    else:
        after = _SAVE % INPUTS[title]
    subprocess.run([python, "-c", f"{code}\n{after}\n"], cwd=folder, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", action="store_true", help="PyTorch and Hugging Face as well")
    with_torch = parser.parse_args().torch
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        served = []
        for title, code in snippets(PAGE.read_text()).items():
            if title in TORCH and not with_torch:
                continue
            print(title, flush=True)
            name = re.sub(r"\W", "_", title.lower())
            run(title, code, folder / "models" / name)
            (folder / "models" / name / "predicted.npz").rename(folder / f"{name}.npz")
            file = next((folder / "models" / name).rglob("*.onnx"))
            served.append(f"{name}={file.parent}")
        return judge(folder, served)


if __name__ == "__main__":
    sys.exit(main())
