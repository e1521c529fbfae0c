"""The settings of scripts/synthesize_captions.py, with their ranges; configs/synthesize_captions.yaml says what they mean."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from close_transfer.core.roles import Role
from close_transfer.core.schema import AboveZero, Natural, NonNegative, Positive, Share, StrictModel

Action = Literal["run", "plan", "status", "collect", "filter", "report"]
SourceName = Literal["grammar", "openai", "openai-batch", "transformers"]
SamplerName = Literal["unigram", "uniform", "pairs", "list"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")

# Columns that every corpus has; a recipe cannot use them for anything else.
RESERVED = ("id", "group", "keywords", "stage", "reason")


class FieldSettings(StrictModel):
    """One field of an answer.

    Attributes:
        description: told to the model with the JSON schema.
        values: what is allowed, if not any text.
    """

    description: str = ""
    values: tuple[str, ...] | None = None


class RecipeSettings(StrictModel):
    """What is asked for: a file of configs/recipe/.

    Attributes:
        name: of the recipe's file.
        template: file of the prompt, beside the recipe's file; None where existing text is filtered.
        system: the system message, if any.
        keywords: words drawn for each request.
        rows: a file of records that fill the template, one a request, in turn.
        examples: in-context examples, records of the recipe's fields and `keywords`; or the name of a file of them;
            or "references", to take them from the reference texts.
        examples_per_request: how many of them each request shows.
        items_per_request: texts in one answer; they share a group.
        fields: of an item, in the order they are written; `text` is always one.
        balanced_values: variables that take their values in turn, so that each comes equally often.
        keep_columns: variables and columns of `rows` that the corpus keeps.
        temperature: of sampling; 0 is greedy.
        top_p: share of probability that is sampled from.
        max_output_tokens: of one answer.
        words: fewest and most words of `text`.
        keywords_present: whether a text must hold all of its keywords, any of them, or none need be.
        must_contain: field -> field that must hold it, word for word.
        must_differ: fields of one item that may not say the same.
        grammar: symbol -> frames, added to those of the grammar's file; the fields are among them.
        style_words: words that mark the style, counted in the report.
        train: settings of scripts/train_text_only.py that read this corpus.
        licence: a note for the data card.
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
            raise ValueError("recipe.fields: one must be `text`, what the trainer learns from")
        reserved = [name for name in (*self.fields, *self.keep_columns) if name in RESERVED]
        if reserved:
            raise ValueError(f"recipe: {reserved[0]!r} is a column of every corpus; call the field something else")
        duplicated = sorted(set(self.fields) & set(self.keep_columns))
        if duplicated:
            raise ValueError(
                f"recipe.keep_columns: {duplicated[0]!r} is a field of the answer already; leave it out there"
            )
        field_names = set(self.fields)
        for name in {*self.must_contain, *self.must_contain.values(), *self.must_differ} - field_names:
            raise ValueError(f"recipe: {name!r} is no field; there are {', '.join(self.fields)}")
        if self.words[0] > self.words[1]:
            raise ValueError(f"recipe.words=[{self.words[0]},{self.words[1]}]: the fewest come first")
        empty = [name for name, values in self.balanced_values.items() if not values]
        if empty:
            raise ValueError(f"recipe.balanced_values.{empty[0]}: names no value; give two or more, such as [yes,no]")
        unknown = (
            [] if self.rows is not None else [name for name in self.keep_columns if name not in self.balanced_values]
        )
        if unknown:
            raise ValueError(
                f"recipe.keep_columns: {unknown[0]!r} is neither in recipe.balanced_values nor a column of recipe.rows"
            )
        if self.template is None and self.rows is None:
            raise ValueError("recipe: without a template it filters text that exists; give recipe.rows=FILE")
        return self


class KeywordSettings(StrictModel):
    """Where keywords come from, and how they are drawn."""

    sampler: SamplerName = "unigram"
    list: Annotated[str | None, Role.FINGERPRINTED] = None  # file of a user's words with quotas
    min_count: Positive = 1
    language: str = "en"
    drop: tuple[str, ...] = ()
    part_of_speech: tuple[str, ...] | None = None
    spacy_pipeline: str | None = None


class FilterSettings(StrictModel):
    """The chain of filters; None or false leaves a filter out.

    Attributes:
        language: of the texts, two or three letters; one that simplemma has a word list of.
        min_known_words: share of a text's words, names and numbers aside, that the list must have.
        refusals: take out refusals and assistant talk (textgen/filters/assistant_talk.txt).
        leaks: take out the prompt's own words, placeholders and labels.
        markup: take out markdown, tags, addresses, hashtags, braces and control characters.
        repetition: take out texts that say the same one to four words four times in a row.
        clip_tokens: most tokens of CLIP in `text`, the start and the end included.
        exact_duplicates: take out texts whose words an earlier one has, in the same order.
        near_duplicates: Jaccard similarity of words and word pairs from which the later text goes; what a value means
            is in textgen/filters/near.py.
        overused_share: share of the corpus that may hold one 4-gram.
        overused_factor: times its share of the references that a 4-gram may reach, if that is more.
        overused_min_count: number of texts that may hold any 4-gram.
        evaluation_overlap: the similarity from which a text is an example of the prompt or an evaluation text. Where
            it is None, evaluation texts are not looked at, and examples are taken out by their exact words alone.
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
    """Of source=openai-batch."""

    max_requests: Annotated[int, Field(ge=1, le=50_000)] = 50_000
    max_bytes: Positive = 150_000_000
    poll_seconds: AboveZero = 30.0


class LocalSettings(StrictModel):
    """Of source=transformers."""

    batch_size: Positive = 16
    device: Annotated[str, Role.LOCATION] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class SynthesizeCaptionsConfig(StrictModel):
    """All settings."""

    action: Action = "run"
    recipe: RecipeSettings
    source: SourceName = "grammar"
    num_texts: Positive | None = None
    output: Annotated[str, Role.LOCATION]
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
    max_cost: Annotated[NonNegative | None, Role.BUDGET] = None
    max_total_tokens: Annotated[Natural | None, Role.BUDGET] = None
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
        if not _VARIABLE.fullmatch(self.api_key_env):  # not shown: it may be the key itself
            raise ValueError(
                "api_key_env: should be the name of a variable of the environment, in capitals, such as OPENAI_API_KEY"
            )
        try:
            parts = urlsplit(self.base_url or "")
        except ValueError:
            raise ValueError("base_url: is no address; it should be like http://localhost:8000/v1") from None
        if parts.username or parts.password:  # not shown, and refused before anything is written
            raise ValueError(
                f"base_url: holds a user or password; leave it out, and put the key into {self.api_key_env}"
            )
        return self
