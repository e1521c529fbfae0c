"""Gates of the study of captioners: statements that its results must support, each with the numbers.

The bounds were set before any training. A gate that fails is reported; the tests are not changed to fit it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from close_transfer.evaluation.composition import TWINS
from studies.captioners.system_scores import PERPLEXITY, SystemScores
from studies.scene_scores import SceneScores

CAP, CAPPA, BLIND, CLIP, PARALLEL = "cap", "cappa", "blind", "clip", "parallel"
ORDER, CIDER = "accuracy/order", "CIDEr"
_CHANCE = 50.0  # of twins; a system that does not see the images gets exactly this
_LARGEST_SHARE = 0.7  # of the perplexity of parallel prediction alone


@dataclass(frozen=True)
class Check:
    """Part of a gate.

    Attributes:
        text: the statement.
        value: number that it is about; None if a run is missing.
        interval: 95% interval of the number; None if it has none.
        passed: True if the statement holds for the finished seeds; None if a system has none.
        missing_seeds: seeds that are not finished, such as "cap: 2 of 3 seeds"; empty if there are none.
    """

    text: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    passed: bool | None = None
    missing_seeds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """Statement that the results must support; it holds if all of its checks do."""

    name: str
    checks: list[Check]

    @property
    def status(self) -> Literal["passed", "failed", "not finished"]:
        """Return the outcome; one failed check decides it. A check that lacks a seed decides nothing, because it may change."""
        passed = [None if check.missing_seeds else check.passed for check in self.checks]
        return "failed" if False in passed else "not finished" if None in passed else "passed"


class _Judge:
    """Maker of checks from the scores of the systems."""

    def __init__(self, systems: Mapping[str, SystemScores], num_bootstrap: int) -> None:
        self._systems, self._num_bootstrap = systems, num_bootstrap

    def _find(self, name: str, metric: str) -> SceneScores | None:
        return self._systems[name].by_metric.get(metric) if name in self._systems else None

    def _find_perplexity(self, name: str) -> float | None:
        return self._systems[name].perplexity if name in self._systems else None

    def _add_missing_seeds(self, check: Check, metric: str, *names: str) -> Check:
        """Return a check with the seeds that its systems lack."""
        missing = []
        for name in names:
            system = self._systems[name]
            num_seeds = len(system.perplexities if metric == PERPLEXITY else system.by_metric[metric].by_seed)
            if num_seeds < system.num_seeds:
                missing.append(f"{name}: {num_seeds} of {system.num_seeds} seeds")
        return replace(check, missing_seeds=tuple(missing))

    def check_bound(self, metric: str, name: str, least: float) -> Check:
        """Return the check that a score is at least a bound."""
        text, scores = f"{name} at least {least:g}", self._find(name, metric)
        if scores is None:
            return Check(text)
        interval = scores.compute_interval(self._num_bootstrap)
        return self._add_missing_seeds(Check(text, scores.score, interval, scores.score >= least), metric, name)

    def check_above_chance(self, metric: str, name: str) -> Check:
        """Return the check that a score is above chance by its interval."""
        text, scores = f"{name} above {_CHANCE:g}", self._find(name, metric)
        if scores is None:
            return Check(text)
        interval = scores.compute_interval(self._num_bootstrap)
        return self._add_missing_seeds(Check(text, scores.score, interval, interval[0] > _CHANCE), metric, name)

    def check_chance(self, metric: str, name: str) -> Check:
        """Return the check that every seed is at chance exactly."""
        text, scores = f"{name} exactly {_CHANCE:g} with every seed", self._find(name, metric)
        if scores is None:
            return Check(text)
        is_exact = all(score == _CHANCE for score in scores.by_seed)
        interval = scores.compute_interval(self._num_bootstrap)
        return self._add_missing_seeds(Check(text, scores.score, interval, is_exact), metric, name)

    def check_above(self, metric: str, name: str, other: str, least: float | None = None) -> Check:
        """Return the check that a score is above another: by the paired interval, or by at least a number of points."""
        text = f"{name} minus {other} " + ("above 0" if least is None else f"at least {least:g}")
        a, b = self._find(name, metric), self._find(other, metric)
        if a is None or b is None:
            return Check(text)
        difference = a.subtract(b, self._num_bootstrap)
        passed = difference.low > 0 if least is None else difference.difference >= least
        check = Check(text, difference.difference, (difference.low, difference.high), passed)
        return self._add_missing_seeds(check, metric, name, other)

    def check_close(self, metric: str, name: str, other: str, most: float) -> Check:
        """Return the check that two scores differ by at most a number of points."""
        text, a, b = f"{name} minus {other} within {most:g}", self._find(name, metric), self._find(other, metric)
        if a is None or b is None:
            return Check(text)
        difference = a.subtract(b, self._num_bootstrap)
        is_close = abs(difference.difference) <= most
        check = Check(text, difference.difference, (difference.low, difference.high), is_close)
        return self._add_missing_seeds(check, metric, name, other)

    def check_perplexity(self, name: str, other: str, share: float = 1.0) -> Check:
        """Return the check that a perplexity is at most a share of another; the number is their ratio."""
        text = f"{name} divided by {other} at most {share:g}"
        a, b = self._find_perplexity(name), self._find_perplexity(other)
        if a is None or b is None:
            return Check(text)
        return self._add_missing_seeds(Check(text, a / b, None, a <= share * b), PERPLEXITY, name, other)


def judge_gates(systems: Mapping[str, SystemScores], num_bootstrap: int) -> list[Gate]:
    """Return all gates with the numbers, from the scores of the finished systems."""
    judge = _Judge(systems, num_bootstrap)
    order = [
        judge.check_bound(ORDER, CAP, 95),
        judge.check_bound(ORDER, CAPPA, 95),
        judge.check_bound(ORDER, BLIND, 90),
    ]
    order += [judge.check_above(ORDER, name, CLIP) for name in (CAP, CAPPA, BLIND)]
    twins = [judge.check_above(TWINS, name, CLIP) for name in (CAP, CAPPA)]
    twins += [judge.check_above_chance(TWINS, CLIP), judge.check_chance(TWINS, BLIND)]
    perplexity = [judge.check_perplexity(CAP, CAPPA), judge.check_perplexity(CAPPA, PARALLEL, _LARGEST_SHARE)]
    captions = [judge.check_close(CIDER, CAP, CAPPA, 3)]
    captions += [judge.check_above(CIDER, name, BLIND, 20) for name in (CAP, CAPPA)]
    named = {ORDER: order, TWINS: twins, "perplexity": perplexity, "captions (CIDEr)": captions}
    return [Gate(name, checks) for name, checks in named.items()]
