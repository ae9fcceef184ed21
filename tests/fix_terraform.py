"""Terraform on a copy of `deploy/terraform`, so that nothing it writes stays in the source tree.

The provider is looked for in the folder that TF_PLUGIN_DIR names, or in Terraform's own way.
Without Terraform or the provider such tests are left out, and say so: nothing installs them here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "deploy" / "terraform"
_SECONDS: Final = 300
_SHOWN_CHARACTERS: Final = 300
_NO_PROVIDER: Final = "Failed to query available provider packages"


class Terraform:
    """A root module and Terraform that works in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def init(self) -> None:
        """Make ready, without any state but a file here; skips the test without the provider."""
        plugins = os.environ.get("TF_PLUGIN_DIR")
        where = [f"-plugin-dir={plugins}"] if plugins else []
        done = self.run("init", "-backend=false", "-input=false", *where)
        _, missing, reason = done.stderr.partition(_NO_PROVIDER)
        if missing:
            shown = " ".join(reason.split())[:_SHOWN_CHARACTERS]
            pytest.skip(f"no AWS provider: deploy/terraform is NOT tested: {shown}")
        assert done.returncode == 0, done.stdout + done.stderr

    def must(self, *arguments: str) -> str:
        """Run a command that has to succeed and give its output."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        # A file of settings that is named and not there is a warning in every output.
        hidden = {"TF_CLI_CONFIG_FILE"} if "TF_PLUGIN_DIR" in os.environ else set()
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        return subprocess.run(
            [find_terraform(), *arguments, *(["-no-color"] if arguments[0] != "fmt" else [])],
            cwd=self._directory,
            env=environment | {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def find_terraform() -> str:
    """Where Terraform is; skips the test without it."""
    found = shutil.which("terraform")
    if found is None:
        pytest.skip("terraform is not there: deploy/terraform is NOT tested")
    return found


@pytest.fixture(scope="session")
def terraform_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the modules, and the tests' own beside them, as they are in the source tree."""
    find_terraform()
    tree = tmp_path_factory.mktemp("terraform")
    left_out = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*")
    shutil.copytree(SOURCE, tree / "deploy" / "terraform", ignore=left_out)
    own = Path("tests", "deploy", "moto")
    shutil.copytree(ROOT / own, tree / own, ignore=left_out)
    return tree
