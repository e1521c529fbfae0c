"""Settings of a run's language model: from scratch, or with pretrained weights."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.config.components import LearningRateGroup
from close_transfer.core.roles import Names
from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel


def _require_model_name(value: Any) -> Any:
    if value in ("", "???"):
        raise ValueError("no model is named. Give lm.name=NAME on the hub, or a folder, for which lm=FOLDER is short")
    return value


class ScratchLM(StrictModel):
    """Settings of a language model that is built from a config and trained from scratch, with its tokenizer."""

    kind: Literal["scratch"]
    name: str
    architecture: Literal["t5", "gpt2", "llama", "captioner"]
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)]
    config: dict[str, Any]  # for transformers' config of the architecture
    learning_rate: AboveZero
    learning_rates: dict[LearningRateGroup, AboveZero]
    warmup_steps: Natural


class LoraConfig(StrictModel):
    """Settings of low-rank updates of a language model's linear layers."""

    rank: Positive
    alpha: AboveZero
    dropout: Annotated[float, Field(ge=0, lt=1)]
    layers: tuple[str, ...] | None


class PretrainedLM(StrictModel):
    """Settings of a language model with pretrained weights: a hub name or a local folder."""

    kind: Literal["pretrained"]
    name: Annotated[str, BeforeValidator(_require_model_name), Names.FILE_OR_HUB]
    tuning: Literal["full", "lora", "frozen"]
    lora: LoraConfig
    dtype: Literal["float32", "bfloat16", "float16"]
    format: Literal["auto", "plain", "chat"]
    learning_rate: AboveZero
    warmup_steps: Natural

    @model_validator(mode="after")
    def _check_dtype(self) -> "PretrainedLM":
        if self.tuning == "full" and self.dtype != "float32":
            raise ValueError(
                f"lm.dtype={self.dtype}: weights that are trained lose small updates in 16 bits. Leave it out "
                "(train.precision=bf16 still computes in 16 bits), or give lm.tuning=lora or lm.tuning=frozen"
            )
        return self


LMConfig = Annotated[ScratchLM | PretrainedLM, Field(discriminator="kind")]
