"""The calls that load configs, models and tokenizers of transformers: without code of others, without pickles.

Nothing that a file says can change that. All other modules load through these functions.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from close_transfer.core.atomic_files import damaged_file_error, read_json
from close_transfer.core.errors import UserError
from close_transfer.core.loading_report import check_loading_info
from close_transfer.core.model_folder import build_custom_code_error, check_model_folder, is_custom_code_error
from close_transfer.core.weight_headers import count_tensors
from close_transfer.encoders.weight_files import limit_parameters


def load_pretrained_model(name: str, dtype: str) -> PreTrainedModel:
    """Load a language model from a folder or the hub.

    Raises:
        UserError: if it needs code of others, its weights are pickled, or a file of the folder is damaged.
        Exception: of many kinds, if it cannot be loaded for another reason.
    """
    check_model_folder(name)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        family: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with limit_parameters(lambda: count_tensors(name), f"{name}/config.json"):
            model, info = family.from_pretrained(
                name,
                config=config,
                dtype=getattr(torch, dtype),
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:
        if is_custom_code_error(error):
            raise build_custom_code_error(name) from error
        raise
    check_loading_info(name, info, [key for key, _ in model.named_parameters()])
    return model


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or the hub.

    Raises:
        UserError: if it needs code of others.
        Exception: of many kinds, if it cannot be loaded for another reason.
    """
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        if is_custom_code_error(error):
            raise build_custom_code_error(f"{name}, its tokenizer") from error
        raise


def load_saved_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint or saved model.

    Raises:
        UserError: if it is damaged, or needs code of others.
    """
    try:
        return load_tokenizer(str(folder))
    except UserError:
        raise
    except Exception as error:  # of many kinds: of JSON, of transformers, and plain ones of tokenizers
        for name in ("tokenizer_config.json", "tokenizer.json"):  # their errors name no file
            if (folder / name).is_file() and not isinstance(read_json(folder / name), dict):
                raise damaged_file_error(folder / name, "it does not hold a JSON object") from error
        raise damaged_file_error(folder / "tokenizer.json", str(error)) from error
