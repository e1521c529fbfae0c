"""Inputs of a corpus: recipe with its files, keywords, price, and the fingerprints that decide a request."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import fingerprint_file
from close_transfer.core.command_line import CONFIGS
from close_transfer.core.errors import UserError
from close_transfer.core.roles import Role, drop_settings
from textgen.config import KeywordSettings, RecipeSettings, SynthesizeCaptionsConfig
from textgen.corpus.prices import FREE, Price, find_price
from textgen.grammar.grammar import Grammar
from textgen.prompts.recipe import Recipe, resolve_beside_recipe
from textgen.text.hashing import hash_json
from textgen.text.keywords import KeywordCounts, count_keywords, extract_words
from textgen.text.readers import check_columns, read_rows, read_texts

RECIPES = CONFIGS / "recipe"
_REFERENCE_EXAMPLES = 200  # number of reference texts that examples=references draws in-context examples from
_WORD_SCALE = 1_000_000  # a grammar's word frequencies as counts: samplers take integers


def _read_template(settings: RecipeSettings) -> str | None:
    if settings.template is None:
        return None
    path = resolve_beside_recipe(settings.template, RECIPES)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"recipe.template={settings.template}: cannot be read ({error}). Put it in the folder of the recipe, or give its path"
        ) from None


def _read_rows(settings: RecipeSettings) -> list[dict[str, Any]]:
    if settings.rows is None:
        return []
    path = resolve_beside_recipe(settings.rows, RECIPES)
    rows = list(read_rows(path, "recipe.rows"))
    if not rows:
        raise UserError(f"recipe.rows={settings.rows}: the file is empty. Give one with one record per line")
    reserved = [name for name in ("keywords", "examples", "num_items") if name in rows[0]]
    if reserved and settings.template is not None:
        raise UserError(f"{path}: {reserved[0]!r} is a variable of every template. Give the column another name")
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
                f"recipe.examples, number {number}: has no {missing[0]!r}. Give every example {', '.join(wanted)}"
            )
    return examples


def _make_reference_examples(
    settings: RecipeSettings, references: Sequence[str], seed: int, counts: KeywordCounts | None
) -> list[dict[str, Any]]:
    """Make in-context examples of reference texts and some of their keywords, as CLOSE does (arXiv 2211.09778)."""
    if list(settings.fields) != ["text"] or not references or counts is None:
        raise UserError(
            "recipe.examples=references: needs reference texts and a recipe with keywords and one field. "
            "Give references=FILE, or another recipe"
        )
    rng = random.Random(f"examples/{seed}")  # independent of the draws of keywords and values
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
        raise UserError(f"{setting}={name}: there is no such file. Give one that exists")
    return fingerprint_file(Path(name))


def resolve_path(name: str) -> Path:
    """Return the path as given if it exists, else relative to the repository, so that commands work in any folder."""
    return Path(name) if Path(name).exists() else CONFIGS.parent / name


@dataclass(frozen=True)
class RecipeInputs:
    """Inputs of a corpus. Files are read on first use."""

    config: SynthesizeCaptionsConfig
    _texts: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def family(self) -> str:
        """Source family: "existing text", "grammar", "openai" or "transformers".

        `openai` and `openai-batch` are one family, because they give the same answers.
        """
        if self.config.recipe.template is None:
            return "existing text"
        return "openai" if self.config.source == "openai-batch" else self.config.source

    @property
    def model(self) -> str:
        """Name of the model; the family's name if no model is used.

        Raises:
            UserError: if a model is needed and `model` is not given.
        """
        if self.family in ("grammar", "existing text"):
            return self.family
        if self.config.model is None:
            raise UserError(
                f"source={self.config.source}: needs a model. Give model=NAME"
                + ("" if self.family == "openai" else " or a folder")
            )
        return self.config.model

    @property
    def max_output_tokens(self) -> int:
        """Token limit of one answer."""
        return self.config.max_output_tokens or self.config.recipe.max_output_tokens

    @property
    def price(self) -> Price:
        """Price of the model's tokens; free for every source but a server.

        Raises:
            UserError: if the model has no price and `allow_unpriced` is false.
        """
        if self.family != "openai":
            return FREE
        return self._find_price(batch=self.config.source == "openai-batch")

    def check_price(self) -> None:
        """Look up the price before the first request.

        Raises:
            UserError: as `price`.
        """
        if self.family == "openai":
            self._find_price(batch=self.config.source == "openai-batch")

    @property
    def batch_price(self) -> Price:
        """Batch price of the model's tokens, for any source: batches of an earlier run may still be in flight.

        Raises:
            UserError: as `price`.
        """
        return self._find_price(batch=True)

    def _find_price(self, *, batch: bool) -> Price:
        config = self.config
        return find_price(self.model, resolve_path(config.prices), batch, config.allow_unpriced, config.max_cost)

    @property
    def references(self) -> list[str]:
        """Reference texts; empty without references=."""
        return self._read_references()

    @property
    def evaluation(self) -> list[str]:
        """Evaluation texts, which the corpus must not contain."""
        return self._read_evaluation()

    def check_texts(self) -> None:
        """Read reference and evaluation texts before the first request.

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
        """Grammar with the recipe's symbols."""
        recipe = self.config.recipe
        columns = sorted({name for row in self._rows for name in row})
        return Grammar.read(resolve_path(self.config.grammar)).extend(
            recipe.grammar, given=[*columns, *recipe.balanced_values]
        )

    @property
    def origin(self) -> str:
        """Origin of the grammar's words and frames, and its licence; empty for other sources."""
        if self.family != "grammar":
            return ""
        return "; licence: ".join(filter(None, [self.grammar.origin, self.grammar.licence]))

    @cached_property
    def keyword_counts(self) -> KeywordCounts | None:
        """Keywords to draw from: those of the references, else of the grammar's word lists; None without either."""
        if self.references:
            counts = count_keywords(self.references, self.config.keywords)
            return self._restrict_to_grammar(counts) if self.family == "grammar" else counts
        if self.family != "grammar":
            return None
        words = sorted(self.grammar.compute_word_frequencies().items(), key=lambda pair: (-pair[1], pair[0]))
        return KeywordCounts({word: max(1, round(share * _WORD_SCALE)) for word, share in words}, [], 0)

    def _restrict_to_grammar(self, counts: KeywordCounts) -> KeywordCounts:
        """Keep the keywords that the grammar can write.

        The grammar leaves out all others, and the filter of keywords would then remove the text.

        Raises:
            UserError: if no keyword is left.
        """
        words = self.grammar.compute_word_frequencies()
        known = {word: n for word, n in counts.counts.items() if word in words}
        if not known:
            raise UserError(
                f"references={self.config.references}: {self.config.grammar} has none of their keywords. Give a grammar for "
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
        """Recipe with its template, examples and rows."""
        settings = self.config.recipe
        from_references = settings.examples == "references"
        counts = self.keyword_counts if from_references else None
        examples = _read_examples(settings, self.references if from_references else (), self.config.seed, counts)
        return Recipe(settings, _read_template(settings), examples, self._rows)

    @cached_property
    def request_fingerprint_inputs(self) -> Mapping[str, str]:
        """Name -> value or fingerprint of every input that decides a request or its answer.

        The corpus's key, and with it every request's id, is a hash of this mapping: a changed name or value makes
        another corpus.
        """
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
            keyword_settings = config.keywords.model_dump(mode="json")
            fingerprint_inputs["keywords"] = hash_json(
                drop_settings(KeywordSettings, keyword_settings, Role.FINGERPRINTED)
            )
            fingerprint_inputs["references"] = (
                _fingerprint(config.references, "references") if config.references else "none"
            )
            if config.keywords.list is not None:
                fingerprint_inputs["keywords.list"] = _fingerprint(config.keywords.list, "keywords.list")
        return fingerprint_inputs
