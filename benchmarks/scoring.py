"""Time of scoring 5,000 captions with five references each, against pycocoevalcap's own evaluation.

    python benchmarks/scoring.py
    python benchmarks/scoring.py --rounds 9 --output scoring.json

Both sides run in this process in turn, and every start of Java counts on both: pycocoevalcap starts the tokenizer for
captions and for references, this project once for both. Their scores are compared before times are printed. METEOR is
timed separately: pycocoevalcap starts it for every evaluation, this project once per process.

The captions are those of COCO's val2017 in the folder CLOSE_TRANSFER_DATA, else Picturebook's. The scored caption of an
image is half of one of its references and half of one of the next image's.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import RESULTS, describe_machine, read_captions_by_image, write_result
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from close_transfer.metrics.bleu import compute_bleu
from close_transfer.metrics.captions import count_image_statistics
from close_transfer.metrics.java import provide_java
from close_transfer.metrics.meteor import share_meteor
from close_transfer.metrics.ptb import tokenize_captions

Texts = tuple[list[str], list[list[str]]]
"""Captions, and the references of each."""


def mix_captions(references: list[list[str]]) -> list[str]:
    """Join half of each image's first reference with half of the next image's."""
    words = [group[0].split() for group in references]
    following = [*words[1:], words[0]]
    return [
        " ".join(own[: (len(own) + 1) // 2] + other[len(other) // 2 :])
        for own, other in zip(words, following, strict=True)
    ]


def tokenize_officially(texts: Texts) -> Texts:
    """Tokenize as COCOEvalCap does: references, then captions."""
    hypotheses, references = texts
    with provide_java():
        groups = PTBTokenizer().tokenize(
            {i: [{"caption": text} for text in group] for i, group in enumerate(references)}
        )
        single = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(hypotheses)})
    return [text for (text,) in single.values()], list(groups.values())


def score_officially(tokens: Texts) -> dict[str, Any]:
    """Return BLEU, ROUGE-L and CIDEr of pycocoevalcap, times 100, with ROUGE-L and CIDEr of each image."""
    references, hypotheses = dict(enumerate(tokens[1])), {i: [text] for i, text in enumerate(tokens[0])}
    bleu, _ = Bleu(4).compute_score(references, hypotheses, verbose=0)
    rouge_l, rouge_l_by_image = Rouge().compute_score(references, hypotheses)
    cider, cider_by_image = Cider().compute_score(references, hypotheses)
    by_image = {"ROUGE-L by image": rouge_l_by_image, "CIDEr by image": cider_by_image}
    return {**{f"BLEU-{n}": 100 * bleu[n - 1] for n in (1, 2, 3, 4)}, "ROUGE-L": rouge_l, "CIDEr": cider, **by_image}


def score_here(tokens: Texts) -> dict[str, Any]:
    """Return the same as `score_officially`, by this project."""
    images = count_image_statistics(*tokens)
    bleu = {name: float(rows[0]) for name, rows in compute_bleu(images.bleu.sum(axis=0, keepdims=True)).items()}
    by_image = {"ROUGE-L by image": images.rouge_l, "CIDEr by image": images.cider}
    return {**bleu, "ROUGE-L": images.rouge_l.mean(), "CIDEr": images.cider.mean(), **by_image}


def measure(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Call a function; return its result and the seconds that it took."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def time_scores(texts: Texts, rounds: int) -> dict[str, list[float]]:
    """Time both sides in turn; return the seconds of each round by part.

    Raises:
        AssertionError: if tokens or scores differ.
    """
    names = ("tokens, pycocoevalcap", "tokens", "scores, pycocoevalcap", "scores", "tokens, cached references")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with TemporaryDirectory() as cache:
        tokenize_captions(*texts, Path(cache))
        for _ in range(rounds):
            official_tokens, official_tokenizing = measure(tokenize_officially, texts)
            official, official_scoring = measure(score_officially, official_tokens)
            tokens, tokenizing = measure(tokenize_captions, *texts)
            scores, scoring = measure(score_here, tokens)
            again, cached = measure(tokenize_captions, *texts, Path(cache))
            assert tokens == official_tokens == again
            for name, score in official.items():
                np.testing.assert_allclose(scores[name], score, rtol=1e-12, err_msg=name)
            times = (official_tokenizing, tokenizing, official_scoring, scoring, cached)
            for name, duration in zip(names, times, strict=True):
                seconds[name].append(duration)
    totals = {
        "all, pycocoevalcap": ("tokens, pycocoevalcap", "scores, pycocoevalcap"),
        "all": ("tokens", "scores"),
        "all, cached references": ("tokens, cached references", "scores"),
    }
    sums = {
        name: [a + b for a, b in zip(*(seconds[part] for part in parts), strict=True)] for name, parts in totals.items()
    }
    return seconds | sums


def score_meteor_officially(tokens: Texts) -> float:
    """Return METEOR by pycocoevalcap, which starts the program."""
    with provide_java():
        score, _ = Meteor().compute_score(dict(enumerate(tokens[1])), {i: [text] for i, text in enumerate(tokens[0])})
    return float(score)


def score_meteor_here(tokens: Texts) -> float:
    """Return METEOR by the program that runs already, or by a new one."""
    with share_meteor() as meteor:
        return float(meteor.compute_scores(meteor.count_matches(*tokens).sum(axis=0, keepdims=True))[0]) / 100


def time_meteor(tokens: Texts, rounds: int) -> dict[str, list[float]]:
    """Time METEOR on both sides in turn; return seconds by part, and the first scoring here, which starts the program."""
    first, first_seconds = measure(score_meteor_here, tokens)
    seconds: dict[str, list[float]] = {"METEOR, pycocoevalcap": [], "METEOR": [], "METEOR, first": [first_seconds]}
    for _ in range(rounds):
        official, official_seconds = measure(score_meteor_officially, tokens)
        score, own_seconds = measure(score_meteor_here, tokens)
        np.testing.assert_allclose([score, first], official, rtol=1e-12)
        seconds["METEOR, pycocoevalcap"].append(official_seconds)
        seconds["METEOR"].append(own_seconds)
    return seconds


def compare_parts(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Return by part: medians and ranges of the seconds, and the median and range of their ratio to pycocoevalcap's."""
    summary = {}
    for name, times in seconds.items():
        official = seconds.get(f"{name.split(',')[0]}, pycocoevalcap", times)
        ratios = [a / b for a, b in zip(times, official, strict=False)]
        summary[name] = {
            "seconds": times,
            "median": statistics.median(times),
            "ratio": statistics.median(ratios),
            "ratios": [min(ratios), max(ratios)],
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description="Time caption scores against pycocoevalcap.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds without METEOR")
    parser.add_argument("--meteor-rounds", type=int, default=2, help="rounds of METEOR; 0 leaves it out")
    parser.add_argument("--output", type=Path, default=RESULTS / "scoring.json", help="JSON file to write")
    arguments = parser.parse_args()
    source, references = read_captions_by_image()
    texts = mix_captions(references), references
    load = os.getloadavg()[0]
    seconds = time_scores(texts, arguments.rounds)
    if arguments.meteor_rounds:
        seconds |= time_meteor(tokenize_captions(*texts), arguments.meteor_rounds)
    summary = compare_parts(seconds)
    num_references = sum(map(len, references))
    print(f"{source}: {len(references):,} captions, {num_references:,} references; load before the start {load:.1f}")
    print(f"{'':28}{'median s':>10}{'fastest':>10}{'slowest':>10}{'ratio':>8}{'range of ratios':>18}")
    for name, row in summary.items():
        low, high = row["ratios"]
        times = row["seconds"]
        print(
            f"{name:28}{row['median']:10.2f}{min(times):10.2f}{max(times):10.2f}{row['ratio']:8.2f}{low:10.2f} to {high:.2f}"
        )
    content = {"captions": source, "images": len(references), "references": num_references}
    write_result(
        arguments.output, {"benchmark": "scoring", "machine": describe_machine("cpu"), **content, "parts": summary}
    )


if __name__ == "__main__":
    main()
