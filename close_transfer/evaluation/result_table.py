"""Rows and tables of results, and the paired comparison of two systems."""

from dataclasses import dataclass, field
from typing import Any

from close_transfer.evaluation.results import Results
from close_transfer.metrics.bootstrap import PairedDifference


@dataclass(frozen=True)
class Value:
    """Value of a metric with the ends of its 95% interval, None without an interval."""

    value: float
    low: float | None
    high: float | None


@dataclass
class Row:
    """One system in a table.

    Attributes:
        name: unique within its regime and table.
        data_regime: T0 to T4, as results.json has it; None if not stated.
        seeds: seeds of the folded results; None for a result that states none.
        values: value by metric: the mean over seeds with its t-interval, or a single result's with its
            bootstrap interval.
        settings: settings that identify the system, by dotted key.
        first: one of the folded results.
        marks: parts of the system that come from Picturebook, although the examples are other data.
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
    """Table of systems that were evaluated on the same examples in the same way.

    Attributes:
        data, split: the names that the results state for them, joined by " / ".
        fingerprint: fingerprint of the examples and references.
        rows: systems by data regime, the best of each regime first.
        leading: name of the metric that rows are ordered by.
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
    """Paired comparison of two systems on the same examples.

    Attributes:
        scenes: the kind of input that each system was given: "image" or "text".
        same_references: whether their references are known to be the same too.
        difference: the first system minus the second, by a paired bootstrap.
        is_builtin: whether the examples are Picturebook's.
        marks: parts of either system that come from Picturebook, although the examples are other data.
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
