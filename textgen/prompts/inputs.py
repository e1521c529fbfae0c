"""From settings to what a corpus is made with: the recipe with its files, keywords, and all that decides a request."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import fingerprint_file
from close_transfer.core.command_line import CONFIGS
from close_transfer.core.errors import UserError
from textgen.config import RecipeSettings, SynthesizeCaptionsConfig
from textgen.corpus.prices import FREE, Price, find_price
from textgen.grammar.grammar import Grammar
from textgen.prompts.recipe import Recipe, resolve_beside_recipe
from textgen.text.hashing import hash_json
from textgen.text.keywords import KeywordCounts, count_keywords, extract_words
from textgen.text.readers import check_columns, read_rows, read_texts

RECIPES = CONFIGS / "recipe"
_REFERENCE_EXAMPLES = 200  # texts that examples=references rotates through
_WORD_SCALE = 1_000_000  # a grammar's frequencies, as counts


def _read_template(settings: RecipeSettings) -> str | None:
    if settings.template is None:
        return None
    path = resolve_beside_recipe(settings.template, RECIPES)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"recipe.template={settings.template}: cannot be read ({error}); it lies beside the recipe"
        ) from None


def _read_rows(settings: RecipeSettings) -> list[dict[str, Any]]:
    if settings.rows is None:
        return []
    path = resolve_beside_recipe(settings.rows, RECIPES)
    rows = list(read_rows(path, "recipe.rows"))
    if not rows:
        raise UserError(f"recipe.rows={settings.rows}: the file is empty; give one with a record a line")
    reserved = [name for name in ("keywords", "examples", "num_items") if name in rows[0]]
    if reserved and settings.template is not None:
        raise UserError(f"{path}: a template has {reserved[0]!r} of its own; call the column something else")
    field_names = list(settings.fields) if settings.template is None else []
    check_columns(
        rows, [*field_names, *(name for name in settings.keep_columns if name not in settings.balanced_values)], path
    )
    return rows


def _read_examples(
    settings: RecipeSettings, references: Sequence[str], seed: int, counts: KeywordCounts | None
) -> list[dict[str, Any]]:
    if not isinstance(settings.examples, str):
        examples: list[dict[str, Any]] = [dict(example) for example in settings.examples]
    elif settings.examples == "references":
        return _make_reference_examples(settings, references, seed, counts)
    else:
        examples = list(read_rows(resolve_beside_recipe(settings.examples, RECIPES), "recipe.examples"))
    wanted = [*settings.fields, *settings.balanced_values]
    for number, example in enumerate(examples, start=1):
        missing = [name for name in wanted if name not in example]
        if missing:
            raise UserError(
                f"recipe.examples, number {number}: has no {missing[0]!r}; an example has {', '.join(wanted)}"
            )
    return examples


def _make_reference_examples(
    settings: RecipeSettings, references: Sequence[str], seed: int, counts: KeywordCounts | None
) -> list[dict[str, Any]]:
    """Reference texts with keywords that they hold, as in CLOSE (arXiv 2211.09778)."""
    if list(settings.fields) != ["text"] or not references or counts is None:
        raise UserError(
            "recipe.examples=references: needs references=FILE, and a recipe of one field that draws keywords"
        )
    rng = random.Random(f"examples/{seed}")
    texts = rng.sample(references, min(_REFERENCE_EXAMPLES, len(references)))
    keywords = set(counts.counts)
    examples = []
    for text in texts:
        held_keywords = [word for word in dict.fromkeys(extract_words(text)) if word in keywords]
        if len(held_keywords) >= settings.keywords:
            examples.append({"text": text, "keywords": rng.sample(held_keywords, settings.keywords)})
    return examples


def _fingerprint(name: str, setting: str) -> str:
    if not Path(name).is_file():
        raise UserError(f"{setting}={name}: there is no such file")
    return fingerprint_file(Path(name))


def resolve_path(name: str) -> Path:
    """A file as it was given, or else from the repository, so that commands work in any folder."""
    return Path(name) if Path(name).exists() else CONFIGS.parent / name


@dataclass(frozen=True)
class RecipeInputs:
    """What a corpus is made with. Parts that take time are read on first use."""

    config: SynthesizeCaptionsConfig
    _texts: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def family(self) -> str:
        """The source as far as it decides answers: a batch gives what the same model gives one by one."""
        if self.config.recipe.template is None:
            return "existing text"
        return "openai" if self.config.source == "openai-batch" else self.config.source

    @property
    def model(self) -> str:
        """The model's name; the grammar's file has none.

        Raises:
            UserError: if a model is asked and none is named.
        """
        if self.family in ("grammar", "existing text"):
            return self.family
        if self.config.model is None:
            raise UserError(
                f"source={self.config.source}: give model=NAME" + ("" if self.family == "openai" else " or a folder")
            )
        return self.config.model

    @property
    def max_output_tokens(self) -> int:
        """Of one answer."""
        return self.config.max_output_tokens or self.config.recipe.max_output_tokens

    @property
    def price(self) -> Price:
        """Of the model's tokens.

        Raises:
            UserError: if it has none and the user does not allow that.
        """
        if self.family != "openai":
            return FREE
        return self._find_price(batch=self.config.source == "openai-batch")

    def check_price(self) -> None:
        """Looks the price up, before anything is asked.

        Raises:
            UserError: as `price`.
        """
        if self.family == "openai":
            self._find_price(batch=self.config.source == "openai-batch")

    @property
    def batch_price(self) -> Price:
        """Of the same in batches, whatever the source is now: batches may be left from before.

        Raises:
            UserError: as `price`.
        """
        return self._find_price(batch=True)

    def _find_price(self, *, batch: bool) -> Price:
        config = self.config
        return find_price(self.model, resolve_path(config.prices), batch, config.allow_unpriced, config.max_cost)

    @property
    def references(self) -> list[str]:
        """The reference texts; none without references=."""
        return self._read_references()

    @property
    def evaluation(self) -> list[str]:
        """Texts that must not come out as results."""
        return self._read_evaluation()

    def check_texts(self) -> None:
        """Reads reference and evaluation texts, before anything is asked.

        Raises:
            UserError: if they cannot be read.
        """
        self._read_references()
        self._read_evaluation()

    def _read_references(self) -> list[str]:
        path = self.config.references
        return self._read_once("references", [] if path is None else [path], self.config.references_column)

    def _read_evaluation(self) -> list[str]:
        return self._read_once("evaluation", self.config.evaluation, self.config.evaluation_column)

    def _read_once(self, setting: str, paths: Sequence[str], column: str) -> list[str]:
        if setting not in self._texts:
            self._texts[setting] = [text for path in paths for text in read_texts(path, column, setting)]
        return self._texts[setting]

    @cached_property
    def grammar(self) -> Grammar:
        """The grammar with the recipe's own symbols."""
        recipe = self.config.recipe
        columns = sorted({name for row in self._rows for name in row})
        return Grammar.read(resolve_path(self.config.grammar)).extend(
            recipe.grammar, given=[*columns, *recipe.balanced_values]
        )

    @property
    def origin(self) -> str:
        """Where a grammar's words and frames come from, and its licence; empty for other sources."""
        if self.family != "grammar":
            return ""
        return "; licence: ".join(filter(None, [self.grammar.origin, self.grammar.licence]))

    @cached_property
    def keyword_counts(self) -> KeywordCounts | None:
        """Keywords to draw from: of the references, or else of the grammar's word lists."""
        if self.references:
            counts = count_keywords(self.references, self.config.keywords)
            return self._restrict_to_grammar(counts) if self.family == "grammar" else counts
        if self.family != "grammar":
            return None
        words = sorted(self.grammar.compute_word_frequencies().items(), key=lambda pair: (-pair[1], pair[0]))
        return KeywordCounts({word: max(1, round(share * _WORD_SCALE)) for word, share in words}, [], 0)

    def _restrict_to_grammar(self, counts: KeywordCounts) -> KeywordCounts:
        """The references' keywords that a grammar can write: it would leave out any other, and a filter the text.

        Raises:
            UserError: if there is none.
        """
        words = self.grammar.compute_word_frequencies()
        known = {word: n for word, n in counts.counts.items() if word in words}
        if not known:
            raise UserError(
                f"references={self.config.references}: {self.config.grammar} has none of their keywords; give a grammar of "
                "such texts, or leave references out"
            )
        sets = [
            known_words
            for words_of_text in counts.sets
            if (known_words := tuple(word for word in words_of_text if word in known))
        ]
        return KeywordCounts(known, sets, counts.num_texts)

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return _read_rows(self.config.recipe)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe with its template, examples and rows."""
        settings = self.config.recipe
        from_references = settings.examples == "references"
        counts = self.keyword_counts if from_references else None
        examples = _read_examples(settings, self.references if from_references else (), self.config.seed, counts)
        return Recipe(settings, _read_template(settings), examples, self._rows)

    @cached_property
    def request_fingerprint_inputs(self) -> Mapping[str, str]:
        """By name, everything that decides a request or its answer."""
        config, recipe = self.config, self.config.recipe
        fingerprint_inputs = {
            **self.recipe.fingerprints,
            "source": self.family,
            "model": self.model,
            "seed": str(config.seed),
        }
        if self.family in ("openai", "transformers"):
            fingerprint_inputs["temperature"], fingerprint_inputs["top_p"] = str(recipe.temperature), str(recipe.top_p)
            fingerprint_inputs["max_output_tokens"] = str(self.max_output_tokens)
        if self.family == "transformers":
            fingerprint_inputs["local.batch_size"], fingerprint_inputs["local.dtype"] = (
                str(config.local.batch_size),
                config.local.dtype,
            )
        if self.family == "grammar":
            fingerprint_inputs["grammar"] = fingerprint_file(resolve_path(config.grammar))
            fingerprint_inputs["recipe's grammar"] = hash_json(recipe.model_dump(mode="json")["grammar"])
        if recipe.keywords:
            fingerprint_inputs["keywords"] = hash_json(config.keywords.model_dump(mode="json", exclude={"list"}))
            fingerprint_inputs["references"] = (
                _fingerprint(config.references, "references") if config.references else "none"
            )
            if config.keywords.list is not None:
                fingerprint_inputs["keywords.list"] = _fingerprint(config.keywords.list, "keywords.list")
        return fingerprint_inputs
