"""What tokens cost, and the most that a request can cost before it is sent."""

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
    """Dollars a million tokens."""

    input: NonNegative
    output: NonNegative


class PriceList(StrictModel):
    """A file of prices.

    Attributes:
        as_of: when they were looked up.
        batch: share of the price that a batch costs.
        models: by the name that requests give.
    """

    as_of: datetime.date
    batch: Annotated[float, Field(gt=0, le=1)] = 0.5
    models: dict[str, ModelPrice]


@dataclass(frozen=True)
class Price:
    """What a model's tokens cost, in dollars a token.

    Attributes:
        input: of the prompt.
        output: of the answer.
        as_of: the date of the prices, for people; "free" or "unknown" where there are none.
    """

    input: float
    output: float
    as_of: str

    def of(self, input_tokens: int, output_tokens: int) -> Spend:
        """What so many tokens cost."""
        return Spend(input_tokens + output_tokens, self.input * input_tokens + self.output * output_tokens)


FREE = Price(0.0, 0.0, "free")


def find_price(model: str, path: Path, batch: bool, allow_unpriced: bool, max_cost: float | None) -> Price:
    """The price of a model's tokens.

    Raises:
        UserError: if the file cannot be used, or has no price for the model and the user does not allow that.
    """
    if not path.is_file():
        raise UserError(f"prices={path}: there is no such file; configs/prices.yaml shows what one looks like")
    try:
        contents = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"prices={path}: is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(contents, dict):
        raise UserError(f"prices={path}: should hold as_of, batch and models, as configs/prices.yaml does")
    try:
        prices = validate(PriceList, contents)
    except UserError as error:
        raise UserError(f"prices={path}: {error}") from None
    if model in prices.models:
        model_price, share = prices.models[model], (prices.batch if batch else 1.0) * _PER_MILLION
        return Price(model_price.input * share, model_price.output * share, str(prices.as_of))
    if not allow_unpriced:
        raise UserError(
            f"model={model}: {path} has no price for it, so max_cost could not be kept; add one there (0 for a server of "
            f"your own), or give allow_unpriced=true and max_total_tokens=; it has {', '.join(prices.models)}"
        )
    if max_cost is not None:
        raise UserError(
            f"max_cost={max_cost}: cannot be kept without a price of {model}; add one to {path}, or give max_total_tokens="
        )
    return Price(0.0, 0.0, "unknown")


# What a server's chat template may put around a message, in tokens.
_OVERHEAD = 64


def bound_tokens(*texts: str | None) -> int:
    """No fewer than the tokens of these texts in one request.

    Tokenisers of language models work on bytes, and a token holds at least one.
    """
    return sum(len(text.encode()) for text in texts if text) + _OVERHEAD


def estimate_tokens(*texts: str | None) -> int:
    """About how many tokens English texts are: one for four bytes."""
    return sum(len(text.encode()) for text in texts if text) // 4 + 8
