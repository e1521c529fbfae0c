"""Generated text before filtering."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Candidate:
    """Text that becomes a line of the corpus if it passes the filters.

    Attributes:
        id: id of the request and the text's place in its answer, for instance "3f0c…-0".
        group: id of the request; the texts of one request describe one scene.
        text: the caption, premise or scene text.
        fields: name -> other fields that the recipe asks for, such as a hypothesis, a question or an answer.
        given: name -> inputs of the request that the corpus keeps, such as a label or an article.
        keywords: words that the request asked for.
        is_truncated: True if the token limit ended the answer inside this text.
    """

    id: str
    group: str
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    keywords: tuple[str, ...] = ()
    is_truncated: bool = False

    @property
    def full_text(self) -> str:
        """Text and all other fields, on one line."""
        return " ".join([self.text, *self.fields.values()])

    def to_record(self) -> dict[str, Any]:
        """Return the record for a line of corpus.jsonl."""
        line = {"id": self.id, "group": self.group, "text": self.text, **self.fields, **self.given}
        return {**line, "keywords": list(self.keywords)} if self.keywords else line
