"""Rows and tables of results, and the paired comparison of two systems."""

from dataclasses import dataclass, field
from typing import Any

from close_transfer.evaluation.results import Results
from close_transfer.metrics.bootstrap import PairedDifference


@dataclass(frozen=True)
class Value:
    """A metric with its 95% interval; None where there is none."""

    value: float
    low: float | None
    high: float | None


@dataclass
class Row:
    """One system in a table.

    Attributes:
        name: unique within its regime and table.
        data_regime: T0 to T4, as results.json has it; None if not stated.
        seeds: of the results folded here; None where a result states none.
        values: by metric. Several seeds: their mean with its t-interval. One: its bootstrap interval.
        settings: all that makes the system what it is, by dotted key.
        first: one of the results folded here.
        marks: what of Picturebook is in it, though the examples are other data.
    """

    name: str
    data_regime: str | None
    seeds: list[int | None]
    values: dict[str, Value]
    first: Results
    settings: dict[str, Any] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)


@dataclass
class ResultTable:
    """Systems asked the same of the same examples.

    Attributes:
        data, split: all names that the results have for them, where they state any.
        rows: by regime, within it the best first.
        leading: the metric they are ordered by.
        is_builtin: whether the examples are Picturebook's, which say nothing about published benchmarks.
    """

    task: str
    data: str
    split: str | None
    scene: str | None
    fingerprint: str
    num_examples: int
    rows: list[Row]
    leading: str
    is_builtin: bool


@dataclass(frozen=True)
class Pairing:
    """Two systems on the same examples, by a paired bootstrap.

    Attributes:
        scenes: what each was shown.
        same_references: whether their references are known to be the same too.
        is_builtin: whether the examples are Picturebook's.
        marks: what of Picturebook is in either, though the examples are other data.
    """

    names: tuple[str, str]
    folders: tuple[str, str]
    data_regimes: tuple[str | None, str | None]
    scenes: tuple[str | None, str | None]
    data: str
    metric: str
    num_examples: int
    same_references: bool
    difference: PairedDifference
    is_builtin: bool
    marks: list[str]
