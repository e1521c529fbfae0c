"""Paths of the files of published datasets."""

from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import is_file


def find_file(root: Path, name: str) -> Path | None:
    """Return the file of this name or its .gz below `root`, in its own folder or directly in `root`; None if missing."""
    for candidate in dict.fromkeys([name, f"{name}.gz", Path(name).name, f"{Path(name).name}.gz"]):
        if is_file(root / candidate):
            return root / candidate
    return None


def locate_file(root: Path, name: str, setting: str, data_name: str) -> Path:
    """Return the file as `find_file` does.

    Raises:
        UserError: if it is missing; names its place, and the command that checks the dataset.
    """
    path = find_file(root, name)
    if path is None:
        raise UserError(
            f"{setting}={name}: there is no such file below {root} (nor {name}.gz). "
            f"See what is missing with: python scripts/check_data.py data={data_name}, and the same data settings"
        )
    return path


def open_official_file(data: Any, split: str, key: str = "files") -> tuple[Path, str]:
    """Return the file of one split of a published dataset, and the setting that names it.

    Raises:
        UserError: if the dataset has no such split, or the file is missing.
    """
    files = getattr(data, key)
    setting = f"data.{key}.{split}"
    if split not in files:
        raise UserError(
            f"split={split}: data={data.name} has no file for this split. Use one of {', '.join(files) or '(none)'}, or give "
            f"{setting}=FILE"
        )
    root = Path(data.captions_root if key == "captions" else data.root)
    return locate_file(root, files[split], setting, data.name), setting


def get_image_folder(data: Any, split: str) -> Path:
    """Return the folder of the images of one split of a published dataset."""
    return Path(data.root, data.image_folders.get(split, "."))
