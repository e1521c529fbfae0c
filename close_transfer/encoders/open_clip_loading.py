"""Models of `open_clip` as the settings name them: from an architecture and a tag, a file, a folder or the hub."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch

from close_transfer.config.components import OpenClipConfig
from close_transfer.core.errors import UserError, get_first_line
from close_transfer.core.model_folder import build_custom_code_error, is_custom_code_error
from close_transfer.encoders.open_clip_folder import (
    check_clip_folder,
    hide_missing_weights_warning,
    load_clip_tokenizer,
    never_ask,
)
from close_transfer.encoders.published_weights import Usage, find_usage

RANDOM = "random"  # value of clip.pretrained for untrained weights, a baseline

PICTUREBOOK_FOLDER = Path(__file__).parents[1] / "data" / "picturebook" / "clip"


@dataclass(frozen=True)
class LoadedClip:
    """Model of open_clip on its device, with what its inputs go through.

    Attributes:
        model: the model.
        preprocess: preprocessing of images.
        tokenizer: tokenizer of texts; None if only images are encoded.
        usage: what published weights need; None for others.
    """

    model: Any
    preprocess: Any
    tokenizer: Any
    usage: Usage | None


def resolve_clip_name(config: OpenClipConfig) -> str:
    """Return the model's name as open_clip takes it."""
    return f"local-dir:{PICTUREBOOK_FOLDER}" if config.model == "picturebook" else config.model


def _check(config: OpenClipConfig) -> None:
    """Check the settings as far as possible without building the model."""
    if config.pretrained == RANDOM and config.weights:
        raise UserError(f"clip.pretrained=random and clip.weights={config.weights} are both given. Give one of them")
    if config.model == "picturebook" or config.model.startswith(("local-dir:", "hf-hub:")):
        if config.weights:
            raise UserError(
                f"clip.weights={config.weights}: clip.model={config.model} includes its weights. Leave clip.weights out, or "
                "give an architecture's name as clip.model"
            )
        if config.pretrained == RANDOM:
            raise UserError(
                f"clip.pretrained=random: clip.model={config.model} includes its weights. Give an architecture's name"
            )
        return
    architectures = open_clip.list_models()
    if config.model not in architectures:
        suggestions = difflib.get_close_matches(config.model, architectures, n=3, cutoff=0.4)
        raise UserError(
            f"clip.model={config.model}: open_clip has no such architecture. Give one of those that "
            f"scripts/list_encoders.py lists; similar names are {', '.join(suggestions) or '(none)'}"
        )
    if config.weights:
        if not Path(config.weights).is_file():
            raise UserError(f"clip.weights={config.weights}: there is no such file. Give a .safetensors or .pt file")
        if config.pretrained is None:
            return
    tags = open_clip.list_pretrained_tags_by_model(config.model)
    if config.pretrained not in (*tags, RANDOM):
        raise UserError(
            f"clip.pretrained={config.pretrained}: {config.model} has no such tag. Choose one of "
            f"{', '.join(tags) or '(none)'}, or give clip.weights=FILE"
        )


def load_clip(config: OpenClipConfig, device: str) -> LoadedClip:
    """Check the settings, and load the model that they name.

    Raises:
        UserError: for an unknown architecture or tag, an unusable file, or an unreachable hub.
    """
    _check(config)
    is_published = config.model in open_clip.list_models() and config.pretrained != RANDOM
    usage = find_usage(config) if is_published else None
    name = resolve_clip_name(config)
    arguments = usage.to_arguments() if usage else {}
    try:
        if config.pretrained == RANDOM:
            torch.manual_seed(config.seed)
            hide_missing_weights_warning()  # the setting requests random weights
            model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
        else:
            if name.startswith(("local-dir:", "hf-hub:")):
                check_clip_folder(name)
            with never_ask():
                model, preprocess = open_clip.create_model_from_pretrained(
                    name, pretrained=config.weights or config.pretrained, device=device, weights_only=True, **arguments
                )
        tokenizer = None if config.features == "grid" else _load_tokenizer(config, name)
        return LoadedClip(model, preprocess, tokenizer, usage)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"clip.model={config.model}: {error}") from None
    except Exception as error:
        if is_custom_code_error(error):
            raise build_custom_code_error(f"clip.model={config.model}") from error
        if name.startswith("local-dir:"):
            raise UserError(
                f"clip.model={config.model}: cannot be loaded ({get_first_line(error)}). Give a folder with open_clip_config.json, "
                "weights as .safetensors, and the tokenizer; restore files that were changed from a copy"
            ) from error
        if config.weights:
            raise UserError(
                f"clip.weights={config.weights}: cannot be loaded into {config.model} ({get_first_line(error)}). "
                "Give weights of that architecture as .safetensors, or a .pt file that holds tensors only"
            ) from error
        raise UserError(
            f"clip.model={config.model} clip.pretrained={config.pretrained}: the weights could not be downloaded "
            f"({get_first_line(error)}). Connect to the hub once, or download the file elsewhere and give clip.weights=FILE too"
        ) from error


def _load_tokenizer(config: OpenClipConfig, name: str) -> Any:
    """Load the architecture's tokenizer from open_clip, from the hub, or from a local folder."""
    try:
        return load_clip_tokenizer(name, config.tokenizer)
    except Exception as error:
        if is_custom_code_error(error):
            raise build_custom_code_error(f"clip.model={config.model}, its tokenizer") from error
        source = config.tokenizer or get_tokenizer_name(config.model)
        raise UserError(
            f"clip.model={config.model}: its tokenizer {source} cannot be loaded ({get_first_line(error)}). Connect to the "
            "hub once, or give the folder of that tokenizer as clip.tokenizer=FOLDER"
        ) from error


def get_tokenizer_name(architecture: str) -> str:
    """Return the hub name of an architecture's tokenizer, or "CLIP's own" for the one that is part of open_clip."""
    text_config = (open_clip.get_model_config(architecture) or {}).get("text_cfg", {})
    return text_config.get("hf_tokenizer_name") or text_config.get("hf_model_name") or "CLIP's own"
