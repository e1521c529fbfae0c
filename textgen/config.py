"""Settings of scripts/synthesize_captions.py with their ranges; configs/synthesize_captions.yaml explains each."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from close_transfer.core.schema import AboveZero, Natural, NonNegative, Positive, Share, StrictModel

Action = Literal["run", "plan", "status", "collect", "filter", "report"]
SourceName = Literal["grammar", "openai", "openai-batch", "transformers"]
SamplerName = Literal["unigram", "uniform", "pairs", "list"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")

# Columns of every corpus and of removed.jsonl; a recipe cannot use these names.
RESERVED = ("id", "group", "keywords", "stage", "reason")


class FieldSettings(StrictModel):
    """Field of an answer.

    Attributes:
        description: description in the JSON schema that the model gets.
        values: allowed values; None for any text.
    """

    description: str = ""
    values: tuple[str, ...] | None = None


class RecipeSettings(StrictModel):
    """Recipe: the prompt, the fields of an answer and their checks. One file of configs/recipe/.

    Attributes:
        name: stem of the recipe's file.
        template: file of the prompt, in the folder of the recipe; None for a recipe that filters existing text.
        system: system message; None for none.
        keywords: number of words drawn for each request.
        rows: file of records that fill the template, one per request, in turn.
        examples: in-context examples, as records of the recipe's fields and `keywords`; or the name of a file of them;
            or "references", to make them from the reference texts.
        examples_per_request: number of examples in each prompt.
        items_per_request: number of texts in one answer; they share a group.
        fields: name -> field of an item, in the order they are written; `text` is required.
        balanced_values: variable -> values that it takes in turn, so that all are equally frequent.
        keep_columns: variables and columns of `rows` that the corpus keeps.
        temperature: sampling temperature; 0 is greedy.
        top_p: probability mass of nucleus sampling.
        max_output_tokens: token limit of one answer.
        words: smallest and largest number of words of `text`.
        keywords_present: keywords that a text must contain: "all", "any" or "none".
        must_contain: field -> field that must contain it, word for word.
        must_differ: fields of one item that must not be equal.
        grammar: symbol -> frames, added to those of the grammar's file; each field is a symbol.
        style_words: words that mark the style, counted in the report.
        train: settings of scripts/train_text_only.py for this corpus.
        licence: note for the data card.
    """

    name: str
    template: str | None
    system: str | None = None
    keywords: Natural = 0
    rows: str | None = None
    examples: tuple[dict[str, str | tuple[str, ...]], ...] | str = ()
    examples_per_request: Natural = 0
    items_per_request: Positive = 1
    fields: dict[Name, FieldSettings]
    balanced_values: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    keep_columns: tuple[Name, ...] = ()
    temperature: NonNegative = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_output_tokens: Positive = 128
    words: tuple[Natural, Positive] = (3, 40)
    keywords_present: Literal["all", "any", "none"] = "all"
    must_contain: dict[Name, Name] = Field(default_factory=dict)
    must_differ: tuple[Name, ...] = ()
    grammar: dict[str, str | tuple[str, ...] | dict[str, str | tuple[str, ...]]] = Field(default_factory=dict)
    style_words: tuple[str, ...] = ()
    train: str = "task=captioning data=file"
    licence: str = ""

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

    sampler: SamplerName = "unigram"
    list: str | None = None  # file of the user's keywords with quotas
    min_count: Positive = 1
    language: str = "en"
    drop: tuple[str, ...] = ()
    part_of_speech: tuple[str, ...] | None = None
    spacy_pipeline: str | None = None


class FilterSettings(StrictModel):
    """Chain of filters; None or false turns a filter off.

    Attributes:
        language: language of the texts, two or three letters; simplemma must have a word list of it.
        min_known_words: smallest share of a text's words that the list must have; names and numbers do not count.
        refusals: remove refusals and assistant talk (textgen/filters/assistant_talk.txt).
        leaks: remove texts with words, placeholders or labels of the prompt.
        markup: remove texts with Markdown, tags, web addresses, hashtags, braces or control characters.
        repetition: remove texts that repeat the same one to four words four times in a row.
        clip_tokens: largest number of CLIP tokens in `text`, including start and end token.
        exact_duplicates: remove texts with the same words in the same order as an earlier one.
        near_duplicates: Jaccard similarity of words and word pairs from which the later text is removed;
            textgen/filters/near.py shows examples of values.
        overused_share: share of the corpus that may contain one 4-gram.
        overused_factor: multiple of its share of the references that a 4-gram may reach, if that is more.
        overused_min_count: number of texts that may contain any 4-gram.
        evaluation_overlap: similarity from which a text counts as a copy of an in-context example or an evaluation text.
            With None, evaluation texts are not compared, and examples only by their exact words.
    """

    language: str | None = "en"
    min_known_words: Annotated[float, Field(ge=0, le=1)] = 0.75
    refusals: bool = True
    leaks: bool = True
    markup: bool = True
    repetition: bool = True
    clip_tokens: Positive | None = 77
    exact_duplicates: bool = True
    near_duplicates: Share | None = 0.8
    overused_share: Share | None = 0.03
    overused_factor: AboveZero = 3.0
    overused_min_count: Positive = 50
    evaluation_overlap: Share | None = 0.8


class BatchSettings(StrictModel):
    """Settings of source=openai-batch."""

    max_requests: Annotated[int, Field(ge=1, le=50_000)] = 50_000
    max_bytes: Positive = 150_000_000
    poll_seconds: AboveZero = 30.0


class LocalSettings(StrictModel):
    """Settings of source=transformers."""

    batch_size: Positive = 16
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class SynthesizeCaptionsConfig(StrictModel):
    """Settings of scripts/synthesize_captions.py."""

    action: Action = "run"
    recipe: RecipeSettings
    source: SourceName = "grammar"
    num_texts: Positive | None = None
    output: str
    references: str | None = None
    references_column: str = "text"
    evaluation: tuple[str, ...] = ()
    evaluation_column: str = "text"
    grammar: str
    model: str | None = None
    base_url: str | None = None
    api: Literal["auto", "responses", "chat"] = "auto"
    json_schema: Literal["auto", "schema", "text"] = "auto"
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: Positive = 32
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    request_timeout: AboveZero = 60.0
    max_attempts: Positive = 8
    initial_backoff: NonNegative = 0.5
    max_cost: NonNegative | None = None
    max_total_tokens: Natural | None = None
    max_output_tokens: Positive | None = None
    prices: str
    allow_unpriced: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    keywords: KeywordSettings = KeywordSettings()
    filters: FilterSettings = FilterSettings()
    batch: BatchSettings = BatchSettings()
    local: LocalSettings = LocalSettings()

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
