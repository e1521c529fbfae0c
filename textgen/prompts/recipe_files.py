"""Files that a recipe names: template, rows and in-context examples."""

import random
from collections.abc import Sequence
from typing import Any

from close_transfer.core.command_line import CONFIGS
from close_transfer.core.errors import UserError
from textgen.config import RecipeSettings
from textgen.prompts.recipe import resolve_beside_recipe
from textgen.text.keywords import KeywordCounts, extract_words
from textgen.text.readers import check_columns, check_texts, read_rows

_RECIPES = CONFIGS / "recipe"
_REFERENCE_EXAMPLES = 200  # number of reference texts that examples=references draws in-context examples from


def read_template(settings: RecipeSettings) -> str | None:
    """Return the text of a recipe's template, or None if the recipe has none.

    Raises:
        UserError: if the file cannot be read.
    """
    if settings.template is None:
        return None
    path = resolve_beside_recipe(settings.template, _RECIPES)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"recipe.template={settings.template}: cannot be read ({error}). Put it in the folder of the recipe, or give its path"
        ) from None


def read_recipe_rows(settings: RecipeSettings, check_text: bool) -> list[dict[str, Any]]:
    """Return the records of a recipe's file of rows, or an empty list if the recipe has none.

    Args:
        settings: settings of the recipe.
        check_text: True to check that the texts look like sentences, if they become the corpus (without a template).

    Raises:
        UserError: if the file cannot be read, is empty, or lacks a column, a column has the name of a variable, or the
            texts do not look like sentences.
    """
    if settings.rows is None:
        return []
    path = resolve_beside_recipe(settings.rows, _RECIPES)
    rows = list(read_rows(path, "recipe.rows", next(iter(settings.keep_columns), "text")))
    if not rows:
        raise UserError(f"recipe.rows={settings.rows}: the file is empty. Give one with one record per line")
    reserved = [name for name in ("keywords", "examples", "num_items") if name in rows[0]]
    if reserved and settings.template is not None:
        raise UserError(f"{path}: {reserved[0]!r} is a variable of every template. Give the column another name")
    field_names = list(settings.fields) if settings.template is None else []
    check_columns(
        rows, [*field_names, *(name for name in settings.keep_columns if name not in settings.balanced_values)], path
    )
    if check_text and settings.template is None:
        check_texts(rows, "text", f"recipe.rows={settings.rows}")
    return rows


def read_examples(
    settings: RecipeSettings, references: Sequence[str], seed: int, counts: KeywordCounts | None, check_text: bool
) -> list[dict[str, Any]]:
    """Return a recipe's in-context examples: from its settings, its file or the reference texts.

    Args:
        settings: settings of the recipe.
        references: reference texts, used by examples=references only.
        seed: seed of the draw from the reference texts.
        counts: keywords of the reference texts, used by examples=references only.
        check_text: True to check that the texts of a file look like sentences.

    Raises:
        UserError: if an example lacks a field, its text is not a sentence, or examples=references cannot be used with this
            recipe.
    """
    if not isinstance(settings.examples, str):
        examples: list[dict[str, Any]] = [dict(example) for example in settings.examples]
    elif settings.examples == "references":
        return _make_reference_examples(settings, references, seed, counts)
    else:
        examples = list(read_rows(resolve_beside_recipe(settings.examples, _RECIPES), "recipe.examples", "text"))
        if check_text:
            check_texts(examples, "text", f"recipe.examples={settings.examples}")
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
