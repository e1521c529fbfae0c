"""Provenance of a result: versions of packages, and the commit of this code."""

from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output

_REPORTED_PACKAGES = (
    "close-transfer", "torch", "transformers", "open_clip_torch", "pycocoevalcap", "numpy", "pillow",
)  # fmt: skip


def get_package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that can change a result, by package."""
    return {name: version(name) for name in _REPORTED_PACKAGES}


def get_git_commit() -> str | None:
    """Return the commit that is checked out, 40 hexadecimal digits; None outside a Git checkout."""
    try:
        folder = Path(__file__).parent
        return check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True, stderr=DEVNULL).strip()
    except (OSError, CalledProcessError):
        return None
