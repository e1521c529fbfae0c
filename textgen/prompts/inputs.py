"""Inputs of a corpus: recipe with its files, keywords, price, and the fingerprints that decide a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import fingerprint_file
from close_transfer.core.command_line import CONFIGS
from close_transfer.core.errors import UserError
from close_transfer.core.roles import Role, drop_settings
from textgen.config import KeywordSettings, SynthesizeCaptionsConfig
from textgen.corpus.prices import FREE, Price, find_price
from textgen.grammar.grammar import Grammar
from textgen.prompts.recipe import Recipe
from textgen.prompts.recipe_files import read_examples, read_recipe_rows, read_template
from textgen.text.hashing import hash_json
from textgen.text.keywords import KeywordCounts, count_keywords
from textgen.text.readers import read_texts

_WORD_SCALE = 1_000_000  # a grammar's word frequencies as counts: samplers take integers


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
            self._texts[setting] = [
                text for path in paths for text in read_texts(path, column, setting, self.config.check_text)
            ]
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
        return read_recipe_rows(self.config.recipe, self.config.check_text)

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe with its template, examples and rows."""
        settings = self.config.recipe
        from_references = settings.examples == "references"
        counts = self.keyword_counts if from_references else None
        references = self.references if from_references else ()
        examples = read_examples(settings, references, self.config.plan_seed, counts, self.config.check_text)
        return Recipe(settings, read_template(settings), examples, self._rows)

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
