"""Settings of scripts/synthesize_captions.py with their ranges; configs/synthesize_captions.yaml explains each."""

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from close_transfer.core.languages import LanguageCode
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import AboveZero, FileName, Natural, NonNegative, Positive, Share, StrictModel, shorten
from close_transfer.core.secret_texts import find_address_error

Action = Literal["run", "plan", "status", "collect", "filter", "report", "repair"]
SourceName = Literal["grammar", "openai", "openai-batch", "transformers"]
SamplerName = Literal["unigram", "uniform", "pairs", "list"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

_EXPANDED = re.compile(r"[$`\\\n\r]")  # a shell acts on these even between double quotes
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

    name: FileName  # the folder of a corpus is named after it
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
    temperature: NonNegative | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
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
        if not _holds_settings_only(self.train):  # it is printed as a part of a command, which users copy
            raise ValueError(
                f"recipe.train={shorten(self.train)}: is not a list of settings. Give key=value for each, with quotes around spaces and ;|&<>"
            )
        if self.template is None and self.rows is None:
            raise ValueError("recipe: without a template it filters existing text. Give recipe.rows=FILE")
        return self


def _holds_settings_only(command: str) -> bool:
    """Return True if a shell would read the text as words `key=value` only."""
    words = shlex.shlex(command, posix=True, punctuation_chars=True)
    words.commenters = ""
    words.whitespace_split = True
    try:
        return not _EXPANDED.search(command) and all("=" in word.lstrip("=") for word in words)
    except ValueError:  # a quotation mark without its partner
        return False


class KeywordSettings(StrictModel):
    """Extraction and sampling of keywords."""

    sampler: SamplerName
    list: Annotated[str | None, Role.FINGERPRINTED]
    min_count: Positive
    language: LanguageCode
    drop: tuple[str, ...]
    part_of_speech: tuple[str, ...] | None
    spacy_pipeline: str | None


class FilterSettings(StrictModel):
    """Chain of filters; None or false turns a filter off."""

    language: LanguageCode | None
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

    plain_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"recipe": ("template", "rows", "examples")}

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
    max_wait: NonNegative
    max_cost: Annotated[NonNegative | None, Role.BUDGET]
    max_total_tokens: Annotated[Natural | None, Role.BUDGET]
    max_output_tokens: Positive | None
    max_tokens_parameter: Literal["auto", "max_tokens", "max_completion_tokens"] | None
    prices: str
    allow_unpriced: bool
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None
    keywords: KeywordSettings
    filters: FilterSettings
    batch: BatchSettings
    local: LocalSettings

    @property
    def plan_seed(self) -> int:
        """Return the seed of all draws of the plan; without a seed for the server they are those of 0."""
        return self.seed or 0

    @model_validator(mode="after")
    def _refuse_secrets(self) -> Self:
        if not _VARIABLE.fullmatch(self.api_key_env):  # the message does not quote it: it may be the key itself
            raise ValueError(
                "api_key_env: is not the name of an environment variable. Give one in capitals, such as OPENAI_API_KEY"
            )
        # The fault does not quote the address, and is found before anything is written to a file.
        if fault := find_address_error(self.base_url or "", self.api_key_env):
            raise ValueError(f"base_url: {fault}")
        return self
