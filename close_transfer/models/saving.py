"""Saving of models and tokenizers as `save_pretrained` does, with files that appear complete or not at all."""

import tempfile
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from close_transfer.core.atomic_files import follow_umask, report_write_errors, sync


def save_parts(folder: Path, part: PreTrainedModel | PreTrainedTokenizerBase) -> list[str]:
    """Save a model or tokenizer into an existing folder, and return the names of its files.

    Their permissions follow the umask, which those of safetensors do not.

    Raises:
        WriteError: if the folder cannot be written.
    """
    with report_write_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as elsewhere:
        part.save_pretrained(elsewhere)
        follow_umask(Path(elsewhere))
        paths = sorted(Path(elsewhere).iterdir())
        for path in paths:
            sync(path)
            path.replace(folder / path.name)
        sync(folder)
    return [path.name for path in paths]
