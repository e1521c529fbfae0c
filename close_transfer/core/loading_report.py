"""Explanation of what transformers reports when it loads the weights of a model, or cannot load them."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from close_transfer.core.errors import UserError

_NUMBER = re.compile(r"\d+")


def check_loading_info(subject: str, info: Mapping[str, Any], names: Collection[str]) -> None:
    """Check which tensors transformers loaded, because it only warns if some are missing or left over.

    Args:
        subject: the model, for messages.
        info: what `from_pretrained` returns with `output_loading_info=True`.
        names: names of the model's tensors.

    Raises:
        UserError: if the weights lack a tensor, which transformers fills with random numbers, or have layers that
            config.json does not describe.
    """
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise UserError(
            f"{subject}: its weights lack {len(missing)} tensors that config.json describes, for example {missing[0]}. Give a "
            "complete model, whose architecture is a language model"
        )
    # Other tensors may be left over, such as those of an image tower.
    kinds = {_NUMBER.sub("*", name) for name in names}
    extra = sorted(name for name in info["unexpected_keys"] if _NUMBER.sub("*", name) in kinds)
    if extra or not any(".*." in f".{kind}" for kind in kinds):
        example = f", for example {extra[0]}" if extra else ""
        raise UserError(
            f"{subject}: its config.json describes fewer layers than its weights hold{example}. Restore both files from a copy"
        )


def explain_loading_error(error: BaseException) -> str:
    """Return the reason why transformers could not load a model, on one line."""
    if "ignore_mismatched_sizes" in str(error):  # its reason is in a report, which it prints elsewhere
        return "its weights have other sizes than config.json describes"
    return " ".join(str(error).split())[:200] or type(error).__name__
