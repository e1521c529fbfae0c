"""Catalogue of the available encoders, with the settings that choose them."""

import os
from collections.abc import Iterator

import open_clip
import timm
from huggingface_hub import try_to_load_from_cache
from open_clip.pretrained import get_pretrained_cfg

from close_transfer.encoders.open_clip_loading import get_tokenizer_name

_HEAD = """\
clip=open_clip clip.model=ARCHITECTURE clip.pretrained=TAG     weights are downloaded from the hub once, then cached
clip=open_clip clip.model=ARCHITECTURE clip.pretrained=TAG clip.weights=FILE   no download: weights of that tag from a file, with the tag's
                                                               preprocessing; clip.tokenizer=FOLDER if the tokenizer is on the hub
clip=open_clip clip.model=ARCHITECTURE clip.pretrained=random  untrained weights, a baseline
clip=open_clip clip.model=local-dir:FOLDER                     your open_clip_config.json, weights and tokenizer
clip=open_clip ... clip.features=grid                          one vector per cell of the image, for scripts/train_on_images.py
clip=timm clip.model=ARCHITECTURE                              an image encoder without a text tower, for the same script
clip=precomputed clip.text_embeddings=FILE                     vectors of any encoder, computed elsewhere

An asterisk marks weights that are in this machine's cache of the hub. open_clip has {count} architectures:
"""
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


def format_catalogue(name: str = "") -> str | None:
    """Return a table of the architectures whose names contain `name`, ignoring case; None if there are none.

    For open_clip, it has the width of the embeddings, pixels, context length, tokenizer and pretrained tags. For timm,
    it has the families, or the matching architectures if `name` is given.
    """
    architectures = [model for model in open_clip.list_models() if name.lower() in model.lower()]
    timm_models = (
        [model for model in timm.list_models() if name.lower() in model.lower()] if name else timm.list_models()
    )
    if not architectures and not timm_models:
        return None
    rows = [("architecture", "width", "pixels", "context", "tokenizer", "tags"), *map(_format_row, architectures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*map(str.ljust, row[:5], widths), row[5]]) for row in rows]
    tail = (
        f"timm has {len(timm_models):,} such architectures:\n{', '.join(timm_models)}"
        if name
        else f"timm has {len(timm_models):,} architectures; list_encoders.py name=beit lists a family. The families are:\n"
        + ", ".join(timm.list_modules())
    )
    return _HEAD.format(count=len(architectures)) + "\n".join(lines) + f"\n\n{tail}"


def _format_row(architecture: str) -> tuple[str, ...]:
    config = open_clip.get_model_config(architecture) or {}
    text, vision = config.get("text_cfg", {}), config.get("vision_cfg", {})
    pixels = vision.get("image_size", 224)
    return (
        architecture,
        str(config.get("embed_dim", "?")),
        "x".join(map(str, pixels)) if isinstance(pixels, list) else str(pixels),
        str(text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)),
        get_tokenizer_name(architecture),
        ", ".join(_list_tags(architecture)) or "(none; clip.weights=FILE)",
    )


def _list_tags(architecture: str) -> Iterator[str]:
    for tag in open_clip.list_pretrained_tags_by_model(architecture):
        yield tag + ("*" if _is_cached(architecture, tag) else "")


def _is_cached(architecture: str, tag: str) -> bool:
    repository, name = os.path.split(get_pretrained_cfg(architecture, tag).get("hf_hub", ""))
    return bool(repository) and any(
        isinstance(try_to_load_from_cache(repository, file), str) for file in (name, *_FILES) if file
    )
