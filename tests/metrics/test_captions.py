import os
import shutil

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from close_transfer.metrics.captions import CAPTION_METRICS, caption_scores, ptb_tokenized
from close_transfer.metrics.java import java_on_path

HYPOTHESES = ["A red dog on the grass.", "two cats", "A man riding a horse!", "a boat on the sea at night"]
REFERENCES = [
    ["A red dog is on the grass.", "a hound in a park"],
    ["Two black cats sit in the snow.", "Two kitties."],
    ["A man rides a brown horse.", "Someone on a horse", "a man on a horse at sunset"],
    ["A sailboat at night.", "a boat on the sea"],
]


@pytest.fixture(scope="module")
def official():
    """The corpus scores as pycocoevalcap's own evaluation computes them."""
    with java_on_path():
        tokenizer = PTBTokenizer()
        gts = tokenizer.tokenize({i: [{"caption": r} for r in group] for i, group in enumerate(REFERENCES)})
        res = tokenizer.tokenize({i: [{"caption": h}] for i, h in enumerate(HYPOTHESES)})
        bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
        scores = {f"BLEU-{n}": value for n, value in enumerate(bleu, start=1)}
        scores["METEOR"] = Meteor().compute_score(gts, res)[0]
        scores["ROUGE-L"] = Rouge().compute_score(gts, res)[0]
        scores["CIDEr"] = Cider().compute_score(gts, res)[0]
    return {name: 100 * float(value) for name, value in scores.items()}


@pytest.fixture(scope="module")
def scored():
    return caption_scores(HYPOTHESES, REFERENCES, num_resamples=100)


def test_scores_are_those_of_the_official_scorers(official, scored):
    assert set(scored.metrics) == set(CAPTION_METRICS)
    for name, value in official.items():
        assert scored.metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_intervals_hold_the_values_and_have_the_same_names(scored):
    assert scored.intervals.keys() == scored.metrics.keys()
    for name, (low, high) in scored.intervals.items():
        assert low <= high
        assert low - 5 <= scored.metrics[name] <= high + 5, name


def test_a_caption_with_line_breaks_shifts_nothing():
    tokens = ptb_tokenized([["a dog\nand a cat\u2028too"], ["a horse"], [""]])
    assert tokens[0] == ["a dog and a cat too"]
    assert tokens[1] == ["a horse"]
    assert len(tokens) == 3


def test_perfect_captions_score_full_marks():
    scores = caption_scores([g[0] for g in REFERENCES], REFERENCES, num_resamples=10).metrics
    assert scores["BLEU-4"] == pytest.approx(100)
    assert scores["ROUGE-L"] == pytest.approx(100)


def test_empty_captions_are_scored_and_not_refused():
    scores = caption_scores(["", "two cats"], REFERENCES[:2], num_resamples=10).metrics
    assert np.isfinite(list(scores.values())).all()


def test_works_where_no_java_is_installed(monkeypatch):
    kept = [p for p in os.environ["PATH"].split(os.pathsep) if not shutil.which("java", path=p)]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert shutil.which("java") is None
    assert caption_scores(HYPOTHESES, REFERENCES, num_resamples=10).metrics["METEOR"] > 20
    assert shutil.which("java") is None, "the path is given back as it was"
