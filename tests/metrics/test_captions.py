import gzip
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pycocoevalcap
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from close_transfer.metrics import ptb
from close_transfer.metrics.captions import CAPTION_METRICS, score_captions
from close_transfer.metrics.java import provide_java
from close_transfer.metrics.meteor import share_meteor

HYPOTHESES = ["A red dog on the grass.", "two cats", "A man riding a horse!", "a boat on the sea at night"]
REFERENCES = [
    ["A red dog is on the grass.", "a hound in a park"],
    ["Two black cats sit in the snow.", "Two kitties."],
    ["A man rides a brown horse.", "Someone on a horse", "a man on a horse at sunset"],
    ["A sailboat at night.", "a boat on the sea"],
]


@pytest.fixture(scope="module")
def official_meteor():
    """pycocoevalcap's own, which takes seconds to start."""
    with provide_java():
        scorer = Meteor()
    yield scorer
    scorer.meteor_p.kill()


def official_scores(hypotheses, references, meteor):
    """The corpus scores as pycocoevalcap's own evaluation computes them."""
    with provide_java():
        tokenizer = PTBTokenizer()
        gts = tokenizer.tokenize({i: [{"caption": r} for r in group] for i, group in enumerate(references)})
        res = tokenizer.tokenize({i: [{"caption": h}] for i, h in enumerate(hypotheses)})
        bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
        scores = {f"BLEU-{n}": value for n, value in enumerate(bleu, start=1)}
        scores["METEOR"] = meteor.compute_score(gts, res)[0]
        scores["ROUGE-L"] = Rouge().compute_score(gts, res)[0]
        scores["CIDEr"] = Cider().compute_score(gts, res)[0]
    return {name: 100 * float(value) for name, value in scores.items()}


@pytest.fixture(scope="module")
def official(official_meteor):
    return official_scores(HYPOTHESES, REFERENCES, official_meteor)


@pytest.fixture(scope="module")
def watched():
    """Scores, with the processes that were started for them and what changed among pycocoevalcap's files."""
    processes = []

    class Watched(subprocess.Popen):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            processes.append(self)

    before = file_times()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        patch.setattr(subprocess, "Popen", Watched)
        scores = score_captions(HYPOTHESES, REFERENCES, num_resamples=100, cache=Path(cache))
    return scores, processes, file_times() != before


def file_times():
    """When anything was last written, made or removed in pycocoevalcap."""
    root = Path(pycocoevalcap.__path__[0])
    return {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*")) if "__pycache__" not in str(path)}


@pytest.fixture(scope="module")
def scored(watched):
    return watched[0]


@pytest.fixture
def running():
    with share_meteor() as process:
        yield process


def test_scores_are_those_of_the_official_scorers(official, scored):
    assert set(scored.metrics) == set(CAPTION_METRICS)
    for name, value in official.items():
        assert scored.metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_intervals_hold_the_values_and_have_the_same_names(scored):
    assert scored.intervals.keys() == scored.metrics.keys()
    for name, (low, high) in scored.intervals.items():
        assert low <= high
        assert low - 5 <= scored.metrics[name] <= high + 5, name


def test_perfect_captions_score_full_marks():
    scores = score_captions([g[0] for g in REFERENCES], REFERENCES, num_resamples=10).metrics
    assert scores["BLEU-4"] == pytest.approx(100)
    assert scores["METEOR"] == pytest.approx(100)
    assert scores["ROUGE-L"] == pytest.approx(100)


def test_real_captions_score_as_with_the_official_scorers(official_meteor):
    """One of COCO's captions against the other four; an empty one, a wrong one and two repeated ones among them."""
    folder = os.environ.get("CLOSE_TRANSFER_DATA")
    if not folder:
        pytest.skip("CLOSE_TRANSFER_DATA is not set")
    groups = {}
    with gzip.open(Path(folder, "coco", "captions_val2017.json.gz"), "rt", encoding="utf-8") as file:
        for annotation in json.load(file)["annotations"][:1500]:
            groups.setdefault(annotation["image_id"], []).append(annotation["caption"])
    whole = [group for group in groups.values() if len(group) >= 5]
    assert len(whole) > 100
    hypotheses = [group[0] for group in whole]
    hypotheses[3], hypotheses[7] = "", hypotheses[8]
    hypotheses[10], hypotheses[11] = whole[10][1], whole[11][2]
    references = [group[1:] for group in whole]
    ours = score_captions(hypotheses, references, num_resamples=20).metrics
    for name, value in official_scores(hypotheses, references, official_meteor).items():
        assert ours[name] == pytest.approx(value, rel=1e-12), name


def test_a_caption_like_its_reference_counts_as_meteor_has_it(running, official_meteor):
    """METEOR leaves its one chunk out of the sum; with it, the score of all would be lower."""
    hypotheses, references = ["a red dog", "two cats in snow"], [["a red dog"], ["in the snow two cats sit"]]
    official, _ = official_meteor.compute_score(dict(enumerate(references)), {i: [h] for i, h in enumerate(hypotheses)})
    (ours,) = running.compute_scores(running.count_matches(hypotheses, references).sum(axis=0, keepdims=True))
    assert ours == pytest.approx(100 * official, rel=1e-12)


@pytest.mark.parametrize("hypotheses", [["", "two cats"], ["", ""], ["...", "\u200b"], ["\ud800", "\x00"]])
def test_empty_captions_are_scored_and_not_refused(hypotheses):
    scores = score_captions(hypotheses, REFERENCES[:2], num_resamples=10)
    assert np.isfinite(list(scores.metrics.values())).all()
    assert np.isfinite(list(scores.intervals.values())).all()


def test_a_reference_without_words_changes_nothing(running):
    with_empty = [[*group, ""] for group in REFERENCES]
    assert (running.count_matches(HYPOTHESES, with_empty) == running.count_matches(HYPOTHESES, REFERENCES)).all()


def test_the_field_separator_of_meteor_within_a_caption_adds_no_sentence(running):
    counts = running.count_matches(["a dog ||| a cat", "two cats"], [["a dog ||| a cat"], ["two cats"]])
    assert counts[:, :2].tolist() == [[4, 4], [2, 2]], "words of both, none cut at the separator"
    hypotheses = ["a red dog ||| on the grass", *HYPOTHESES[1:]]
    references = [["a red dog ||| is on |||| the grass", "|||"], *REFERENCES[1:]]
    assert score_captions(hypotheses, references, num_resamples=10).metrics["METEOR"] > 20


def test_a_long_caption_is_scored():
    long = "a man and his dog on a bench in the park " * 30
    scores = score_captions([long, "two cats"], [[long], ["two cats"]], num_resamples=5).metrics
    assert scores["BLEU-4"] == pytest.approx(100)
    assert 50 < scores["METEOR"] <= 100


def test_the_tokenizer_ends_with_the_scores(watched):
    _, processes, _ = watched
    tokenizers = [process for process in processes if "-stdio" not in process.args]
    assert len(tokenizers) == 1, "one for both sides"
    assert all(process.returncode is not None for process in tokenizers)
    assert len(processes) <= 2, "and METEOR, if it did not run already"


def test_two_scorings_use_one_meteor(scored):
    with share_meteor() as first:
        first_pid = first.pid
    assert score_captions(HYPOTHESES, REFERENCES, num_resamples=100) == scored
    with share_meteor() as second:
        assert second.pid == first_pid


def test_nothing_is_written_into_the_installed_packages(watched):
    _, _, changed = watched
    assert not changed


def test_references_are_tokenised_once(tmp_path, monkeypatch):
    tokenized = []
    run = ptb.run_java

    def watch(arguments, folder):
        tokenized.append([path.read_text().splitlines() for path in sorted(folder.glob("captions*"))])
        return run(arguments, folder)

    monkeypatch.setattr(ptb, "run_java", watch)
    first = score_captions(HYPOTHESES, REFERENCES, num_resamples=5, cache=tmp_path)
    assert tokenized == [[HYPOTHESES, [text for group in REFERENCES for text in group]]], "both by one start"
    second = score_captions(HYPOTHESES, REFERENCES, num_resamples=5, cache=tmp_path)
    assert tokenized[1:] == [[HYPOTHESES]]
    assert second == first
    assert [p.name for p in tmp_path.iterdir()] == ["tokenized"]


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOSE_TRANSFER_CACHE", str(tmp_path / "said"))
    score_captions(HYPOTHESES[:1], REFERENCES[:1], num_resamples=5)
    assert (tmp_path / "said" / "tokenized").is_dir()
    monkeypatch.delenv("CLOSE_TRANSFER_CACHE")
    monkeypatch.chdir(tmp_path)
    score_captions(HYPOTHESES[:1], REFERENCES[:1], num_resamples=5)
    assert (tmp_path / "cache" / "tokenized").is_dir()


@pytest.mark.slow
def test_a_dead_meteor_is_replaced_and_where_no_java_is_installed_by_the_wheels(monkeypatch, scored):
    """One test, because a METEOR takes seconds to start."""
    with share_meteor() as before:
        dead = before.pid
    os.kill(dead, signal.SIGKILL)
    while before.is_running():
        time.sleep(0.01)
    kept = [p for p in os.environ["PATH"].split(os.pathsep) if not shutil.which("java", path=p)]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert shutil.which("java") is None
    assert score_captions(HYPOTHESES, REFERENCES, num_resamples=100) == scored
    assert shutil.which("java") is None, "the path is given back as it was"
    with share_meteor() as after:
        assert after.pid != dead
