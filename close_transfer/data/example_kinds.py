"""Kinds of examples: captions, pairs, questions and so on. A task reads one kind, and a dataset provides some.

Tasks and datasets meet here only, so that neither needs to know the names of the other. Which kinds a dataset
provides is in `config/data.py`; which kind a task reads is in its class.
"""

from dataclasses import dataclass
from typing import Literal

from close_transfer.config.data import DATASETS, ExampleKindName


@dataclass(frozen=True)
class ExampleKind:
    """Facts about the examples of one kind.

    Attributes:
        name: name of the kind in a dataset's `provides`.
        prompt: "none" if examples have no prompt, "required" if each has one, else "optional".
        prompt_name: a noun for the prompt, for messages.
        labels: the only targets that are allowed; empty if any text is.
        free_text: True if targets and references are sentences. Then they are evaluation text, which must not leak into
            training; labels and answers of a word or two say nothing about leakage, because every training set has them.
    """

    name: ExampleKindName
    prompt: Literal["none", "optional", "required"]
    prompt_name: str = "prompt"
    labels: tuple[str, ...] = ()
    free_text: bool = False


CAPTIONS = ExampleKind("captions", "none", free_text=True)
PAIRS = ExampleKind("pairs", "required", "hypothesis", labels=("entailment", "neutral", "contradiction"))
QUESTIONS = ExampleKind("questions", "required", "question")
EXPLAINED_QUESTIONS = ExampleKind("explained questions", "required", "question")
ARTICLES = ExampleKind("articles", "optional", "article", free_text=True)
# Rows of a user's own table: a prompt, if the settings give one, and any text as the target.
ROWS = ExampleKind("rows", "optional")

EXAMPLE_KINDS: dict[ExampleKindName, ExampleKind] = {
    kind.name: kind for kind in (CAPTIONS, PAIRS, QUESTIONS, EXPLAINED_QUESTIONS, ARTICLES, ROWS)
}


def find_datasets(kind: ExampleKind) -> list[str]:
    """Return the names in `data=` that provide a kind of examples."""
    return [name for name, dataset in DATASETS.items() if kind.name in dataset.provides]
