"""Recipe: prompts made from its template, and the JSON schema of the answers it asks for."""

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

_ID_BYTES = 12  # 96 bits: a collision among a million requests has a probability below 1e-16


@dataclass(frozen=True, slots=True)
class Request:
    """Planned request.

    Attributes:
        id: hash of everything that decides the answer; equal requests have equal ids.
        index: place in the plan, counted from 0.
        keywords: words that each text of the answer should contain.
        given: name -> other inputs of the template: columns of a row and balanced values.
        examples: in-context examples, by their places in the recipe's list.
        seed: sampling seed.
    """

    id: str
    index: int
    keywords: tuple[str, ...]
    given: Mapping[str, Any]
    examples: tuple[int, ...]
    seed: int

    def to_record(self) -> dict[str, Any]:
        """Return the record for a line of plan.jsonl."""
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
        """Make a request from a record of plan.jsonl."""
        return cls(
            record["id"],
            record["index"],
            tuple(record["keywords"]),
            record["given"],
            tuple(record["examples"]),
            record["seed"],
        )


class Recipe:
    """Recipe with its template, examples and rows.

    Attributes:
        settings: settings of the recipe's file.
        template: text of the template; None for a recipe that filters existing text.
        examples: in-context examples.
        rows: records that fill the template, one per request.
    """

    def __init__(
        self,
        settings: RecipeSettings,
        template: str | None,
        examples: Sequence[Mapping[str, Any]] = (),
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Compile the template.

        Raises:
            UserError: if it is not a valid Jinja template.
        """
        self.settings, self.template, self.examples, self.rows = settings, template, examples, rows
        self._compiled = None if template is None else self._compile(template)

    def _compile(self, template: str) -> Template:
        # Sandboxed, because users share templates, and strict, because a misspelt variable must not make an empty prompt.
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            return environment.from_string(template)
        except TemplateError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"recipe.template={self.settings.template}: {reason}. Correct the template") from error

    def render_prompt(self, request: Request) -> str:
        """Return the prompt of a request.

        Raises:
            UserError: if the template uses a variable that the request does not have, or cannot be rendered.
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
        except Exception as error:  # expressions of a template can raise any exception
            raise UserError(
                f"recipe.template={self.settings.template}: {error}. Use the variables of a request: "
                f"{', '.join(sorted(variables))}"
            ) from error

    @cached_property
    def instructions(self) -> str:
        """Prompt without keywords, examples and rows: the template's own words, for the filter of leaked prompts."""
        if self._compiled is None:
            return ""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        try:
            return environment.from_string(self.template or "").render(examples=[], keywords=[], num_items="")
        except Exception:  # a template that computes with the missing variables
            return ""

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer, limited to the features of strict structured output."""
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
        """Name -> value or hash of each part of the recipe that decides an answer.

        The names and values are part of every request's id, so they must not change.
        """
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

    def make_request(
        self,
        corpus: str,
        index: int,
        keywords: Sequence[str],
        given: Mapping[str, Any],
        examples: Sequence[int],
        seed: int,
    ) -> Request:
        """Make a request with its id; `corpus` is the key of the inputs that all requests of a plan share."""
        shown_examples = [dict(self.examples[number]) for number in examples]
        request_id = hash_json([corpus, list(keywords), dict(given), shown_examples, seed], _ID_BYTES)
        return Request(request_id, index, tuple(keywords), given, tuple(examples), seed)


def resolve_beside_recipe(name: str, folder: Path) -> Path:
    """Return the path of a file that a recipe names: in the working folder if it exists there, else in `folder`."""
    return Path(name) if Path(name).is_file() else folder / name
