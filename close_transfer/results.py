"""Reads what evaluations and scorings wrote, trusting none of it: results.json and scores.jsonl."""

import glob
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from close_transfer.errors import UserError
from close_transfer.sources.faults import Fault
from close_transfer.sources.records import key_field, read_document, read_lines


class Results(BaseModel):
    """What is used of a results.json."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    metrics: Annotated[dict[str, FiniteFloat], Field(min_length=1)]
    intervals: dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = {}
    num_examples: int
    num_skipped: int = 0
    task: str
    data: str
    split: str | None = None
    scene: str | None = None
    noise: dict[str, Any] | None = None
    regime: str | None = None
    trained_on: str | None = None
    seed: int | None = None
    system: str | None = None
    encoder: Any = None
    config: dict[str, dict[str, Any] | None]
    data_fingerprint: str
    references_fingerprint: str | None = None

    @property
    def examples(self) -> str:
        """A fingerprint that is equal where the same was scored against the same."""
        return self.references_fingerprint or self.data_fingerprint

    @property
    def name(self) -> str:
        """What a table calls the system."""
        if self.system is not None:
            return self.system
        adapter = (self.config.get("train") or {}).get("adapter")
        if isinstance(adapter, dict) and adapter.get("name") == "blind":
            return "blind (sees nothing)"
        std = (self.noise or {}).get("std")
        noise = f"noise {std:g}" if isinstance(std, (int, float)) and std else "no noise"
        trained = {"text": "trained on text", "images": "trained on pictures"}.get(self.trained_on or "", "system")
        return f"{trained}, {noise}"


def read_results(path: Path, setting: str) -> Results:
    """One results.json.

    Raises:
        UserError: naming the file and the field, if it is damaged or something else.
    """
    document = read_document(path, setting)
    try:
        return Results.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UserError(
            f"{setting}={path}: {where}: {first['msg'][0].lower()}{first['msg'][1:]}; this is no complete results.json, so evaluate again"
        ) from None


def find_results(patterns: Sequence[str]) -> list[Path]:
    """The files that the globs match, in the order of their names, each once; a folder stands for its results.json.

    Raises:
        UserError: if a glob matches nothing.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        matched = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207  absolute ones too
        files = [one / "results.json" if one.is_dir() else one for one in matched]
        files = [one for one in files if one.is_file()]
        if not files:
            raise UserError(
                f"results={pattern}: matches no results.json; evaluate first, and quote a glob: results='runs/**/results.json'"
            )
        for file in sorted(files):  # a run's folder and the link "latest" to it are one
            found.setdefault(file.resolve(), file)
    return sorted(found.values())


def read_scores(folder: Path) -> tuple[str, dict[str, float]]:
    """The leading metric's name, and its value by example id.

    Raises:
        UserError: if there are none, or the file is damaged.
    """
    path = folder / "scores.jsonl"
    if not path.is_file():
        raise UserError(
            f"compare={folder}: there is no scores.jsonl, which holds the score of every example; evaluate or score that system again"
        )
    scores: dict[str, float] = {}
    metric = ""
    for line, record in read_lines(path, "compare"):
        try:
            name = key_field(record, "id")
            (metric_here,) = (key for key in record if key != "id")
            value = record[metric_here]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise Fault(f"field {metric_here!r} is no number")
            if name in scores or metric_here != (metric or metric_here):
                raise Fault("the id stands there twice, or the metric changes")
        except (Fault, ValueError) as fault:
            raise UserError(f"{path}, line {line}: {fault}; the file is damaged, so evaluate again") from None
        metric, scores[name] = metric_here, float(value)
    if not scores:
        raise UserError(f"{path}: is empty; evaluate again")
    return metric, scores
