"""Where the files of published datasets are."""

from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import is_file


def find_file(root: Path, name: str) -> Path | None:
    """The file of this name below `root`, packed or not, in its folder or straight in `root`."""
    for candidate in dict.fromkeys([name, f"{name}.gz", Path(name).name, f"{Path(name).name}.gz"]):
        if is_file(root / candidate):
            return root / candidate
    return None


def locate_file(root: Path, name: str, setting: str, data_name: str) -> Path:
    """The file, or a `UserError` that says where it should be and who checks it."""
    path = find_file(root, name)
    if path is None:
        raise UserError(
            f"{setting}={name}: there is no such file below {root} (nor {name}.gz); "
            f"see what is missing with: python scripts/check_data.py data={data_name}, and the same data settings"
        )
    return path


def open_official_file(data: Any, split: str, key: str = "files") -> tuple[Path, str]:
    """The file of one split of a published dataset, and the setting that names it.

    Raises:
        UserError: if the dataset has no such split, or the file is not there.
    """
    files = getattr(data, key)
    setting = f"data.{key}.{split}"
    if split not in files:
        raise UserError(
            f"split={split}: data={data.name} has no file for it; there are {', '.join(files) or 'none'}, or give {setting}=FILE"
        )
    root = Path(data.captions_root if key == "captions" else data.root)
    return locate_file(root, files[split], setting, data.name), setting


def get_image_folder(data: Any, split: str) -> Path:
    """The folder of the images of one split of a published dataset."""
    return Path(data.root, data.image_folders.get(split, "."))
