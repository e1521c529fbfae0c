"""Saving of models and tokenizers as `save_pretrained` does, complete or not at all, and loading of their weights."""

import tempfile
from pathlib import Path

from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from close_transfer.core.atomic_files import follow_umask, report_write_errors, sync
from close_transfer.encoders.weight_files import check_shapes


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


def load_weights(model: PreTrainedModel, checkpoint: Path) -> None:
    """Load a checkpoint's weights into a model of the same settings; tied weights are saved once.

    Raises:
        UserError: if the file is damaged, or holds other tensors than the model.
    """
    check_shapes(model.state_dict(keep_vars=True), checkpoint / "model.safetensors")
    model.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=False)
