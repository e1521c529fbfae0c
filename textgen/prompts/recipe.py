"""A recipe at work: prompts from its template, and the shape of the answers it asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from close_transfer.core.errors import UserError
from textgen.config import RecipeSettings
from textgen.text.hashing import hash_json

_CODE_BYTES = 12  # of an id: 96 bits, so that a million requests share none


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask for.

    Attributes:
        id: of everything that decides the answer; the same request always has the same.
        index: place in the plan.
        keywords: words that each text of the answer is to hold.
        given: what else fills the template (columns of a row, values in turn), by name.
        examples: in-context examples, by their place in the recipe's.
        seed: of sampling.
    """

    id: str
    index: int
    keywords: tuple[str, ...]
    given: Mapping[str, Any]
    examples: tuple[int, ...]
    seed: int

    def to_record(self) -> dict[str, Any]:
        """The line of plan.jsonl."""
        return {
            "id": self.id,
            "index": self.index,
            "keywords": list(self.keywords),
            "given": dict(self.given),
            "examples": list(self.examples),
            "seed": self.seed,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Request":
        """From a line of plan.jsonl."""
        return cls(
            record["id"],
            record["index"],
            tuple(record["keywords"]),
            record["given"],
            tuple(record["examples"]),
            record["seed"],
        )


class Recipe:
    """A recipe's settings with its template, examples and rows read.

    Attributes:
        settings: of the recipe's file.
        examples: in-context examples.
        rows: records that fill the template, one a request.
    """

    def __init__(
        self,
        settings: RecipeSettings,
        template: str | None,
        examples: Sequence[Mapping[str, Any]] = (),
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Compiles the template.

        Raises:
            UserError: if it is no Jinja template.
        """
        self.settings, self.template, self.examples, self.rows = settings, template, examples, rows
        self._compiled = None if template is None else self._compile(template)

    def _compile(self, template: str) -> Template:
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            return environment.from_string(template)
        except TemplateError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"recipe.template={self.settings.template}: {reason}; mend the template") from error

    def prompt(self, request: Request) -> str:
        """What the model is asked.

        Raises:
            UserError: if the template speaks of a variable that the request does not have, or cannot be filled.
        """
        assert self._compiled is not None
        variables = {
            **request.given,
            "keywords": list(request.keywords),
            "examples": [self.examples[number] for number in request.examples],
            "num_items": self.settings.items_per_request,
        }
        try:
            return self._compiled.render(variables).strip()
        except Exception as error:  # whatever the template's expressions raise
            raise UserError(
                f"recipe.template={self.settings.template}: {error}; a request has {', '.join(sorted(variables))}"
            ) from error

    @cached_property
    def instructions(self) -> str:
        """The template's own words: a prompt without keywords, examples and rows."""
        if self._compiled is None:
            return ""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        try:
            return environment.from_string(self.template or "").render(examples=[], keywords=[], num_items="")
        except Exception:  # a template that computes with what is missing
            return ""

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer, within what strict structured output allows."""
        properties = {
            name: {
                "type": "string",
                **({"description": field.description} if field.description else {}),
                **({"enum": list(field.values)} if field.values else {}),
            }
            for name, field in self.settings.fields.items()
        }
        item = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
        num = self.settings.items_per_request
        if num == 1:
            return item
        items = {"type": "array", "items": item, "minItems": num, "maxItems": num}
        return {"type": "object", "properties": {"items": items}, "required": ["items"], "additionalProperties": False}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """By name, what of the recipe decides an answer; values are short enough to be compared and shown."""
        settings = self.settings
        return {
            "recipe": settings.name,
            "template": hash_json(self.template),
            "system message": hash_json(settings.system),
            "fields": hash_json(
                [{name: field.model_dump() for name, field in settings.fields.items()}, settings.items_per_request]
            ),
            "examples": hash_json([list(map(dict, self.examples)), settings.examples_per_request]),
            "rows": hash_json(list(map(dict, self.rows))),
            "balance": hash_json({name: list(values) for name, values in settings.balanced_values.items()}),
            "number of keywords": str(settings.keywords),
        }

    def request(
        self,
        corpus: str,
        index: int,
        keywords: Sequence[str],
        given: Mapping[str, Any],
        examples: Sequence[int],
        seed: int,
    ) -> Request:
        """A request with its id; `corpus` stands for all that the requests of a plan share."""
        shown_examples = [dict(self.examples[number]) for number in examples]
        request_id = hash_json([corpus, list(keywords), dict(given), shown_examples, seed], _CODE_BYTES)
        return Request(request_id, index, tuple(keywords), given, tuple(examples), seed)


def resolve_beside_recipe(name: str, folder: Path) -> Path:
    """A file that a recipe names: from the working folder, or else beside the recipe."""
    return Path(name) if Path(name).is_file() else folder / name
