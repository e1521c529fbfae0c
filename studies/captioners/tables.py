"""Tables of the study of captioners, for its Markdown file and its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from close_transfer.evaluation.composition import TWINS
from studies.captioners.gates import CAP, CAPPA, CIDER, ORDER, Check, Gate
from studies.captioners.item_scores import ALL_TARGETS
from studies.captioners.system_scores import SystemScores
from studies.scene_scores import SceneScores

_COMPOSITION = ("accuracy/attribute", "accuracy/relation", "accuracy/count", "text", "image", "group")
# Probes in the order of their columns; another number of shots comes after these.
_PROBES = ("few_shot_1", "few_shot_5", "few_shot_10", "few_shot_25", "linear", "attention_pool", "zero_shot")
_COMPARED_PROBES = ("few_shot_10", "attention_pool", "zero_shot")


@dataclass(frozen=True)
class Table:
    """Table with a title and a note.

    Attributes:
        title: title.
        note: sentence about the cells.
        header: titles of the columns.
        rows: cells of each row, as texts.
    """

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]


def _format_interval(value: float, interval: tuple[float, float] | None, form: str = ".1f") -> str:
    return f"{value:{form}}" + (f" ({interval[0]:{form}} to {interval[1]:{form}})" if interval else "")


def _format_scores(scores: SceneScores | None, num_bootstrap: int) -> str:
    return "" if scores is None else _format_interval(scores.score, scores.compute_interval(num_bootstrap))


def _format_perplexity(system: SystemScores) -> str:
    values = system.perplexities
    if not values:
        return ""
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{system.perplexity:.2f}{spread}"


def _build_score_rows(
    systems: Mapping[str, SystemScores], metrics: Sequence[str], num_bootstrap: int
) -> list[list[str]]:
    """Return a row per system that has one of the metrics. Columns are filled one by one, which keeps the draws."""
    columns = [
        [_format_scores(system.by_metric.get(metric), num_bootstrap) for system in systems.values()]
        for metric in metrics
    ]
    rows = zip(systems, *columns, strict=True)
    return [list(row) for row in rows if any(row[1:])]


def _list_metrics(systems: Mapping[str, SystemScores], prefix: str) -> list[str]:
    """Return the metrics with a prefix that any system has, in the order of the probes."""
    given = dict.fromkeys(
        metric.removeprefix(prefix)
        for system in systems.values()
        for metric in system.by_metric
        if metric.startswith(prefix)
    )
    return [*(name for name in _PROBES if name in given), *sorted(given.keys() - set(_PROBES))]


def _build_main_table(systems: Mapping[str, SystemScores], num_bootstrap: int) -> Table:
    finished = {name: system for name, system in systems.items() if system.curves}
    scores = {row[0]: row[1:] for row in _build_score_rows(finished, (CIDER, ORDER, TWINS), num_bootstrap)}
    rows = [
        [name, str(len(system.curves)), _format_perplexity(system), *scores.get(name, ["", "", ""])]
        for name, system in finished.items()
    ]
    note = (
        "Perplexity: of validation captions, token after token; mean and range of the seeds. Others: 95% intervals. Chance of "
        "order and twins: 20 and 50."
    )
    return Table("Systems", note, ["system", "seeds", "perplexity", CIDER, "order", "twins"], rows)


def _build_probe_tables(systems: Mapping[str, SystemScores], num_bootstrap: int) -> list[Table]:
    probes = _list_metrics(systems, f"{ALL_TARGETS}/")
    if not probes:
        return []
    targets = dict.fromkeys(
        metric.rpartition("/")[0]
        for system in systems.values()
        for metric in system.by_metric
        if metric.endswith(f"/{probes[0]}")
    )
    tables = []
    for target in [ALL_TARGETS, *(name for name in targets if name != ALL_TARGETS)]:
        rows = _build_score_rows(systems, [f"{target}/{probe}" for probe in probes], num_bootstrap)
        mean = ", mean over the targets" if target == ALL_TARGETS else ""
        note = f"Accuracy in percent{mean}. Captioners classify without training by likelihood, CLIP by similarity."
        tables.append(Table(f"Probes: {target}", note, ["system", *probes], rows))
    return tables


def _build_difference_table(systems: Mapping[str, SystemScores], num_bootstrap: int) -> Table | None:
    """Return CapPa minus Cap in the probes; None if one of them is missing."""
    rows = []
    for probe in _COMPARED_PROBES:
        for metric in _list_metrics_of_probe(systems, probe):
            a, b = (systems[name].by_metric.get(metric) if name in systems else None for name in (CAPPA, CAP))
            if a is not None and b is not None:
                difference = a.subtract(b, num_bootstrap)
                cell = _format_interval(difference.difference, (difference.low, difference.high), "+.1f")
                rows.append([probe, metric.rpartition("/")[0], cell])
    note = "Percentage points, with the paired 95% interval. Shown, not gated."
    return Table("CapPa minus Cap in the probes", note, ["probe", "target", "difference"], rows) if rows else None


def _list_metrics_of_probe(systems: Mapping[str, SystemScores], probe: str) -> list[str]:
    metrics = dict.fromkeys(
        metric for system in systems.values() for metric in system.by_metric if metric.endswith(f"/{probe}")
    )
    return sorted(metrics, key=lambda metric: not metric.startswith(ALL_TARGETS))


def build_gate_table(gates: Sequence[Gate]) -> Table:
    """Return the table of the gates, a row per check."""
    rows = [
        [gate.name, check.text, _format_check(check), _format_outcome(check)] for gate in gates for check in gate.checks
    ]
    note = "Bounds that were set before the training. Differences of scores have paired 95% intervals."
    return Table("Gates", note, ["gate", "check", "value", "outcome"], rows)


def _format_check(check: Check) -> str:
    form = ".2f" if "divided" in check.text else ".1f"
    return "" if check.value is None else _format_interval(check.value, check.interval, form)


def _format_outcome(check: Check) -> str:
    if check.passed is None:
        return "not finished"
    outcome = "passed" if check.passed else "failed"
    return f"{outcome} so far ({', '.join(check.missing_seeds)})" if check.missing_seeds else outcome


def build_tables(
    systems: Mapping[str, SystemScores], gates: Sequence[Gate], recipes: Sequence[str], num_bootstrap: int
) -> list[Table]:
    """Return all tables that have rows.

    Args:
        systems: scores of the systems.
        gates: gates of the study.
        recipes: names of the recipes.
        num_bootstrap: draws for the intervals.
    """
    intervals = "In percent, with 95% intervals. Chance of attribute, relation and count: 50; of text, image and group: 25, 25 and 16.7."
    composition = _build_score_rows(systems, _COMPOSITION, num_bootstrap)
    captions = _build_score_rows(systems, [f"{name}/{CIDER}" for name in recipes], num_bootstrap)
    tables = [
        build_gate_table(gates),
        _build_main_table(systems, num_bootstrap),
        Table(
            "Composition",
            intervals,
            ["system", *(name.removeprefix("accuracy/") for name in _COMPOSITION)],
            composition,
        ),
        Table("Recipes on the encoders", "CIDEr, with 95% intervals.", ["system", *recipes], captions),
        *_build_probe_tables(systems, num_bootstrap),
        _build_difference_table(systems, num_bootstrap),
    ]
    return [table for table in tables if table is not None and table.rows]
