"""Checks of an open_clip_config.json of others, and loading without the code that it or a model that it names holds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import open_clip
import torch
from transformers import dynamic_module_utils

from close_transfer.core.checksums import CHECKSUMS, check_checksums
from close_transfer.core.errors import UserError
from close_transfer.core.model_folder import build_custom_code_error, check_model_folder
from close_transfer.core.weight_headers import build_size_error, count_tensors, read_header
from close_transfer.encoders.captioner_tower import register_tower_name
from close_transfer.encoders.weight_files import limit_parameters

_LOCAL = "local-dir:"


def check_clip_folder(name: str) -> None:
    """Check a model that includes its config, `local-dir:FOLDER` or `hf-hub:NAME`, before open_clip loads it.

    Raises:
        UserError: if its config asks to run code, names a text model that cannot be used or an image tower of impossible sizes, or
            a file is not the one that the folder's checksums.json describes.
        OSError, ValueError: if its config cannot be read.
    """
    folder = Path(name.removeprefix(_LOCAL)) if name.startswith(_LOCAL) else None
    if folder is not None and (folder / CHECKSUMS).is_file():
        check_checksums(folder)
    config = open_clip.get_model_config(name)
    text = config.get("text_cfg") if isinstance(config, dict) else None
    if not isinstance(text, dict) or not isinstance(config.get("vision_cfg"), dict):
        raise UserError(
            f"clip.model={name}: its open_clip_config.json is damaged (text_cfg or vision_cfg is missing). Restore it from a copy"
        )
    register_tower_name(config["vision_cfg"].get("timm_model_name"))
    arguments = text.get("tokenizer_kwargs", {})
    if not isinstance(arguments, dict) or arguments.get("trust_remote_code"):
        raise build_custom_code_error(
            f"clip.model={name}: open_clip_config.json, text_cfg.tokenizer_kwargs={arguments}"
        )
    if isinstance(text.get("hf_model_name"), str):
        check_model_folder(text["hf_model_name"])
    if folder is not None:
        _check_size(name, folder)


def _check_size(name: str, folder: Path) -> None:
    """Check that a config does not describe a larger model than the folder's weights, before it takes memory or time."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return
    source = f"{folder}/open_clip_config.json"
    hide_missing_weights_warning()  # only the size is wanted
    with never_ask(), limit_parameters(lambda: count_tensors(folder), source), torch.device("meta"):
        model = open_clip.create_model(name, load_weights=False, pretrained_text=False, device="meta")
    held = sum(prod(shape) for path in files for _, shape in read_header(path).values())
    if sum(parameter.numel() for parameter in model.parameters()) > held:
        raise build_size_error(source, f"{held:,} numbers")


def hide_missing_weights_warning() -> None:
    """Keep open_clip from warning that it loads no weights, if none are wanted."""
    logging.getLogger().addFilter(_drop_missing_weights_warning)


def _drop_missing_weights_warning(record: logging.LogRecord) -> bool:
    return "No pretrained weights" not in record.getMessage()


def load_clip_tokenizer(name: str, source: str | None = None) -> Any:
    """Load the tokenizer of an architecture, without the code of others.

    Args:
        name: name of the architecture, as open_clip takes it.
        source: folder of another tokenizer; None loads the architecture's own.
    """
    text = (open_clip.get_model_config(name) or {}).get("text_cfg", {})
    with never_ask():
        if source is not None:
            return open_clip.tokenizer.HFTokenizer(
                source,
                context_length=text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
                tokenizer_mode=text.get("tokenizer_mode"),
                **text.get("tokenizer_kwargs", {}) | {"local_files_only": True, "trust_remote_code": False},
            )
        if text.get("hf_tokenizer_name"):
            return open_clip.get_tokenizer(name, trust_remote_code=False)
        return open_clip.get_tokenizer(name)  # one of open_clip's own, which does not take the argument


@contextmanager
def never_ask() -> Iterator[None]:
    """Make transformers refuse code of others within the block, where a caller in open_clip leaves the choice open.

    transformers would ask on the terminal, and take a `y` from a pipe for the answer. Without time for an answer it raises.
    """
    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before
