"""Settings of scripts/synthesize_captions.py with their ranges; configs/synthesize_captions.yaml explains each."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import AboveZero, Natural, NonNegative, Positive, Share, StrictModel

Action = Literal["run", "plan", "status", "collect", "filter", "report"]
SourceName = Literal["grammar", "openai", "openai-batch", "transformers"]
SamplerName = Literal["unigram", "uniform", "pairs", "list"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")

# Columns of every corpus and of removed.jsonl; a recipe cannot use these names.
RESERVED = ("id", "group", "keywords", "stage", "reason")


class FieldSettings(StrictModel):
    """Field of an answer, an entry of `recipe.fields`; it gives only the settings that it needs.

    Attributes:
        description: description in the JSON schema that the model gets.
        values: allowed values; None for any text.
    """

    description: str = ""
    values: tuple[str, ...] | None = None


class RecipeSettings(StrictModel):
    """Recipe: the prompt, the fields of an answer and their checks. A file of configs/recipe/, completed by configs/fragments/recipe.yaml."""

    name: str
    template: str | None
    system: str | None
    keywords: Natural
    rows: str | None
    examples: tuple[dict[str, str | tuple[str, ...]], ...] | str
    examples_per_request: Natural
    items_per_request: Positive
    fields: dict[Name, FieldSettings]
    balanced_values: dict[Name, tuple[str, ...]]
    keep_columns: tuple[Name, ...]
    temperature: NonNegative
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_output_tokens: Positive
    words: tuple[Natural, Positive]
    keywords_present: Literal["all", "any", "none"]
    must_contain: dict[Name, Name]
    must_differ: tuple[Name, ...]
    grammar: dict[str, str | tuple[str, ...] | dict[str, str | tuple[str, ...]]]
    style_words: tuple[str, ...]
    train: str
    task_categories: tuple[str, ...]
    licence: str

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if "text" not in self.fields:
            raise ValueError("recipe.fields: has no `text`, which the trainer learns from. Add it")
        reserved = [name for name in (*self.fields, *self.keep_columns) if name in RESERVED]
        if reserved:
            raise ValueError(f"recipe: {reserved[0]!r} is a column of every corpus. Give the field another name")
        duplicated = sorted(set(self.fields) & set(self.keep_columns))
        if duplicated:
            raise ValueError(
                f"recipe.keep_columns: {duplicated[0]!r} is a field of the answer already. Remove it from keep_columns"
            )
        field_names = set(self.fields)
        for name in {*self.must_contain, *self.must_contain.values(), *self.must_differ} - field_names:
            raise ValueError(f"recipe: {name!r} is not a field. Use one of {', '.join(self.fields)}")
        if self.words[0] > self.words[1]:
            raise ValueError(
                f"recipe.words=[{self.words[0]},{self.words[1]}]: is not a range. Give the smaller number first"
            )
        empty = [name for name, values in self.balanced_values.items() if not values]
        if empty:
            raise ValueError(f"recipe.balanced_values.{empty[0]}: has no value. Give two or more, such as [yes,no]")
        unknown = (
            [] if self.rows is not None else [name for name in self.keep_columns if name not in self.balanced_values]
        )
        if unknown:
            raise ValueError(
                f"recipe.keep_columns: {unknown[0]!r} is neither in recipe.balanced_values nor a column of recipe.rows. "
                "Remove it, or add it to one of them"
            )
        if self.template is None and self.rows is None:
            raise ValueError("recipe: without a template it filters existing text. Give recipe.rows=FILE")
        return self


class KeywordSettings(StrictModel):
    """Extraction and sampling of keywords."""

    sampler: SamplerName
    list: Annotated[str | None, Role.FINGERPRINTED]
    min_count: Positive
    language: str
    drop: tuple[str, ...]
    part_of_speech: tuple[str, ...] | None
    spacy_pipeline: str | None


class FilterSettings(StrictModel):
    """Chain of filters; None or false turns a filter off."""

    language: str | None
    min_known_words: Annotated[float, Field(ge=0, le=1)]
    refusals: bool
    leaks: bool
    markup: bool
    repetition: bool
    clip_tokens: Positive | None
    exact_duplicates: bool
    near_duplicates: Share | None
    overused_share: Share | None
    overused_factor: AboveZero
    overused_min_count: Positive
    evaluation_overlap: Share | None


class BatchSettings(StrictModel):
    """Settings of source=openai-batch."""

    max_requests: Annotated[int, Field(ge=1, le=50_000)]
    max_bytes: Positive
    poll_seconds: AboveZero


class LocalSettings(StrictModel):
    """Settings of source=transformers."""

    batch_size: Positive
    device: Annotated[str, Role.LOCATION]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]


class SynthesizeCaptionsConfig(StrictModel):
    """Settings of scripts/synthesize_captions.py."""

    action: Action
    recipe: RecipeSettings
    source: SourceName
    num_texts: Positive | None
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    references: str | None
    references_column: str
    evaluation: tuple[str, ...]
    evaluation_column: str
    check_text: bool
    grammar: str
    model: str | None
    base_url: str | None
    api: Literal["auto", "responses", "chat"]
    json_schema: Literal["auto", "schema", "text"]
    api_key_env: str
    concurrency: Positive
    requests_per_minute: Positive | None
    tokens_per_minute: Positive | None
    request_timeout: AboveZero
    max_attempts: Positive
    initial_backoff: NonNegative
    max_cost: Annotated[NonNegative | None, Role.BUDGET]
    max_total_tokens: Annotated[Natural | None, Role.BUDGET]
    max_output_tokens: Positive | None
    prices: str
    allow_unpriced: bool
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    keywords: KeywordSettings
    filters: FilterSettings
    batch: BatchSettings
    local: LocalSettings

    @model_validator(mode="after")
    def _refuse_secrets(self) -> Self:
        if not _VARIABLE.fullmatch(self.api_key_env):  # the message does not quote it: it may be the key itself
            raise ValueError(
                "api_key_env: is not the name of an environment variable. Give one in capitals, such as OPENAI_API_KEY"
            )
        try:
            parts = urlsplit(self.base_url or "")
        except ValueError:
            raise ValueError("base_url: is not an address. Give one such as http://localhost:8000/v1") from None
        if parts.username or parts.password:  # not quoted, and refused before anything is written to a file
            raise ValueError(
                f"base_url: contains a user or password. Leave it out, and put the key into {self.api_key_env}"
            )
        return self
