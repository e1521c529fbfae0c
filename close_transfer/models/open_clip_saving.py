"""Saving of a model as a folder that open_clip loads as `local-dir:FOLDER`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from close_transfer.core.atomic_files import atomic_path, report_write_errors, write_json
from close_transfer.core.checksums import write_checksums
from close_transfer.models.saving import save_parts

CLIP_FILES = ("open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "tokenizer_config.json")


def save_open_clip(
    folder: Path,
    weights: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase,
    model_config: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
) -> None:
    """Write weights, tokenizer and settings, and last the checksums, which are checked before open_clip loads the folder.

    Args:
        folder: folder, which need not exist.
        weights: tensors by the names that open_clip gives them.
        tokenizer: tokenizer of the text tower.
        model_config: model_cfg of open_clip_config.json.
        preprocessing: preprocess_cfg of open_clip_config.json.

    Raises:
        WriteError: if the folder cannot be written.
    """
    with report_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / "open_clip_model.safetensors") as temporary:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary)
    save_parts(folder, tokenizer)
    write_json(folder / "open_clip_config.json", {"model_cfg": model_config, "preprocess_cfg": preprocessing})
    write_checksums(folder, CLIP_FILES)
