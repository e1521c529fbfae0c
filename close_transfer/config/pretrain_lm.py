"""Settings of the command that trains a language model on text alone."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.config.choices import CudaGraphs, Precision
from close_transfer.config.language_models import ScratchLM
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Natural, OnBadRows, Positive, Share, StrictModel


class PretrainLmConfig(StrictModel):
    """Settings of `pretrain_lm.py`."""

    text: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        Role.FINGERPRINTED,
    ]
    text_column: Annotated[str, Role.FINGERPRINTED]
    exclude: Annotated[str | None, Role.FINGERPRINTED]
    exclude_column: Annotated[str | None, Role.FINGERPRINTED]
    on_bad_rows: Annotated[OnBadRows, Role.FINGERPRINTED]
    check_text: bool
    lowercase: bool
    lm: ScratchLM
    objective: Literal["reconstruct", "denoise", "causal"] | None
    corruption_rate: Share
    mean_span_length: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    max_tokens: Annotated[int, Field(ge=2)]
    epochs: Positive
    max_steps: Positive | None
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    warmup_steps: Natural
    precision: Precision
    cuda_graphs: CudaGraphs
    val_share: Share
    log_every: Annotated[Positive, Role.REPORTING]
    seed: Natural
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    resume: Annotated[bool, Role.LOCATION]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="before")
    @classmethod
    def _check_given(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key, example in (("text", "captions.txt"), ("output", "my_lm")):
                if values.get(key) in (None, "", "???"):
                    raise ValueError(f"{key}: missing. Give {key}=VALUE, such as {key}={example}")
            lm = values.get("lm")
            if isinstance(lm, dict) and lm.get("kind") != "scratch":
                raise ValueError(
                    f"lm={lm.get('name')}: has pretrained weights, but this command trains from scratch. Give lm=t5-mini or "
                    "lm=gpt2-mini, with another size by lm.config.KEY=VALUE"
                )
        return values

    @property
    def used_objective(self) -> Literal["reconstruct", "denoise", "causal"]:
        """Return the given objective, else the default of the architecture."""
        return self.objective or ("reconstruct" if self.lm.architecture == "t5" else "causal")

    @model_validator(mode="after")
    def _check_objective(self) -> "PretrainLmConfig":
        if (self.used_objective == "causal") == (self.lm.architecture == "t5"):
            allowed = "reconstruct or denoise" if self.lm.architecture == "t5" else "causal"
            raise ValueError(
                f"objective={self.objective}: lm={self.lm.name} can only be trained by {allowed}. Leave objective out"
            )
        return self

    @model_validator(mode="after")
    def _check_architecture(self) -> "PretrainLmConfig":
        if self.lm.architecture == "captioner":
            raise ValueError(
                "lm.architecture=captioner: this decoder is trained on images with their texts. Use scripts/train_captioner.py"
            )
        return self

    @model_validator(mode="after")
    def _check_depths(self) -> "PretrainLmConfig":
        if self.lm.architecture != "t5":
            return self
        layers = self.lm.config.get("num_layers", 6)
        decoder_layers = self.lm.config.get("num_decoder_layers") or layers
        if layers != decoder_layers:
            raise ValueError(
                f"lm.config.num_layers={layers} and lm.config.num_decoder_layers={decoder_layers}: transformers "
                "cannot generate with such a T5. Give both the same number"
            )
        return self
