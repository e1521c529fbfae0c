"""Token prices, and upper bounds of a request's tokens before it is sent."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from close_transfer.core.errors import UserError
from close_transfer.core.schema import NonNegative, StrictModel, validate
from textgen.corpus.ledger import Spend

_PER_MILLION = 1e-6


class ModelPrice(StrictModel):
    """Price of a model in dollars per million tokens."""

    input: NonNegative
    output: NonNegative


class PriceList(StrictModel):
    """Price list, as in configs/prices.yaml.

    Attributes:
        as_of: date when the prices were looked up.
        batch: price of a batch request as a share of the full price.
        models: model name in requests -> price.
    """

    as_of: datetime.date
    batch: Annotated[float, Field(gt=0, le=1)] = 0.5
    models: dict[str, ModelPrice]


@dataclass(frozen=True)
class Price:
    """Price of a model in dollars per token.

    Attributes:
        input: price of a prompt token.
        output: price of an answer token.
        as_of: date of the price list as text; "free" or "unknown" without one.
    """

    input: float
    output: float
    as_of: str

    def compute_spend(self, input_tokens: int, output_tokens: int) -> Spend:
        """Return the spend for these numbers of tokens."""
        return Spend(input_tokens + output_tokens, self.input * input_tokens + self.output * output_tokens)


FREE = Price(0.0, 0.0, "free")


def find_price(model: str, path: Path, batch: bool, allow_unpriced: bool, max_cost: float | None) -> Price:
    """Look up the price of a model.

    Args:
        model: model name in requests.
        path: the price list.
        batch: True for the price of batch requests.
        allow_unpriced: True to accept a model without a price.
        max_cost: cap in dollars, which needs a price; None for no cap.

    Raises:
        UserError: if the list cannot be used, or has no price for the model although one is needed.
    """
    if not path.is_file():
        raise UserError(f"prices={path}: there is no such file. Write one like configs/prices.yaml")
    try:
        contents = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
        OSError,
    ) as error:  # ValueError: no UTF-8, or a date as 2026-99-99
        raise UserError(f"prices={path}: is not YAML ({' '.join(str(error).split())}). Correct the file") from None
    if not isinstance(contents, dict):
        raise UserError(f"prices={path}: is not a price list. Give as_of, batch and models, as in configs/prices.yaml")
    try:
        prices = validate(PriceList, contents)
    except UserError as error:
        raise UserError(f"prices={path}: {error}") from None
    if model in prices.models:
        model_price, share = prices.models[model], (prices.batch if batch else 1.0) * _PER_MILLION
        return Price(model_price.input * share, model_price.output * share, str(prices.as_of))
    if not allow_unpriced:
        raise UserError(
            f"model={model}: {path} has no price for it, so max_cost could not be kept; it has {', '.join(prices.models)}. "
            "Add a price there (0 for your own server), or give allow_unpriced=true and max_total_tokens="
        )
    if max_cost is not None:
        raise UserError(
            f"max_cost={max_cost}: cannot be kept without a price for {model}. Add one to {path}, or give max_total_tokens="
        )
    return Price(0.0, 0.0, "unknown")


# Tokens that a server's chat template may add around a message.
_OVERHEAD = 64


def bound_tokens(*texts: str | None) -> int:
    """Return an upper bound of the tokens of these texts in one request.

    Tokenizers of language models work on bytes, and a token has at least one, so the bytes bound the tokens.
    """
    return sum(len(text.encode()) for text in texts if text) + _OVERHEAD


def estimate_tokens(*texts: str | None) -> int:
    """Estimate the tokens of English texts in one request: one per four bytes, and a few for the chat template."""
    return sum(len(text.encode()) for text in texts if text) // 4 + 8
