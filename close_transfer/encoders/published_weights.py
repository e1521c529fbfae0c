"""Activation and preprocessing that published weights of open_clip need; a file of weights does not contain them.

open_clip takes both from the tag only if it downloads the weights. If the activation does not match, it only warns.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg

from close_transfer.config.components import OpenClipConfig
from close_transfer.core.errors import UserError

_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Usage:
    """Activation and preprocessing that weights were trained with.

    Attributes:
        quick_gelu: the activation of OpenAI's CLIP, x * sigmoid(1.702 x), instead of GELU.
        preprocessing: mean, std, interpolation and resize_mode of open_clip's `PreprocessCfg`.
    """

    quick_gelu: bool
    preprocessing: tuple[Any, ...]

    def to_arguments(self) -> dict[str, Any]:
        """Return the arguments for open_clip's `create_model_from_pretrained`."""
        images = {f"image_{name}": value for name, value in zip(_PREPROCESSING, self.preprocessing, strict=True)}
        return {"force_quick_gelu": self.quick_gelu, **images}


def _look_up_usage(model: str, tag: str) -> Usage:
    published, default = get_pretrained_cfg(model, tag), PreprocessCfg()
    values = (published.get(name) or getattr(default, name) for name in _PREPROCESSING)
    return Usage(
        bool(published.get("quick_gelu", False)),
        tuple(tuple(value) if isinstance(value, list) else value for value in values),
    )


def find_usage(config: OpenClipConfig) -> Usage | None:
    """Return the activation and preprocessing of an architecture's weights; None if no weights of it are published.

    Args:
        config: settings with a tag, a file, or a file and its tag.

    Raises:
        UserError: if a file is given without a tag and the tags of the architecture differ, or the architecture has an
            activation that the weights were not trained with.
    """
    if config.pretrained is None:
        by_usage: dict[Usage, list[str]] = defaultdict(list)
        for tag in open_clip.list_pretrained_tags_by_model(config.model):
            by_usage[_look_up_usage(config.model, tag)].append(tag)
        if len(by_usage) > 1:
            groups = "; or ".join(", ".join(tags) for tags in by_usage.values())
            raise UserError(
                f"clip.weights={config.weights}: weights of {config.model} differ in activation or preprocessing, and a "
                f"file does not say which it needs. Give the tag of the weights too, clip.pretrained=TAG: {groups}"
            )
        usage = next(iter(by_usage), None)
    else:
        usage = _look_up_usage(config.model, config.pretrained)
    has_quick_gelu = (open_clip.get_model_config(config.model) or {}).get("quick_gelu")
    if usage is not None and has_quick_gelu and not usage.quick_gelu:
        plain = config.model.removesuffix("-quickgelu")
        raise UserError(
            f"clip.model={config.model}: weights {config.pretrained or config.weights} were trained with plain GELU. Give "
            f"clip.model={plain}"
        )
    return usage
