"""One text that a source wrote, on its way through the filters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line of the corpus, if the filters let it pass.

    Attributes:
        id: of the request and the place in its answer, for instance "3f0c…-0".
        group: the request's id: texts of one request tell of one scene.
        text: what becomes the caption, premise or scene text.
        fields: what else the recipe asks for (a hypothesis, a question, an answer), by name.
        given: what the request was made of and the corpus keeps (a label, an article), by name.
        keywords: words that the text was to hold.
        cut: whether the source was stopped before its end.
    """

    id: str
    group: str
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    keywords: tuple[str, ...] = ()
    cut: bool = False

    @property
    def written(self) -> str:
        """All that the source wrote, on one line."""
        return " ".join([self.text, *self.fields.values()])

    def record(self) -> dict[str, Any]:
        """The line of corpus.jsonl."""
        line = {"id": self.id, "group": self.group, "text": self.text, **self.fields, **self.given}
        return {**line, "keywords": list(self.keywords)} if self.keywords else line
