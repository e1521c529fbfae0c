"""Divergence of each sampler's keywords from those of a corpus.

    python benchmarks/sampler_divergence.py
    python benchmarks/sampler_divergence.py FILE COLUMN

Draws 100,000 pairs of keywords with every sampler from reference texts: a file, or else Flickr30k's training captions
below CLOSE_TRANSFER_DATA. Compares the frequencies of the drawn words with those in the texts by the Jensen-Shannon
divergence in bits, 0 for equal frequencies, 1 for no word in common. Also prints the share of drawn pairs whose words
occur together in a text.
"""

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, islice
from pathlib import Path

from close_transfer.core.command_line import compose_config
from textgen.config import SynthesizeCaptionsConfig
from textgen.prompts.keyword_samplers import SAMPLERS, Quota, sample_by_quota
from textgen.text.keywords import KeywordCounts, count_keywords
from textgen.text.readers import read_texts
from textgen.text.statistics import measure_unigram_divergence

DRAWS, PER_REQUEST, LISTED, SEEDS = 100_000, 2, 500, 3


def draw_keywords(name: str, counts: KeywordCounts, rng: random.Random) -> Iterator[tuple[str, ...]]:
    if name != "list":
        return SAMPLERS[name](counts, PER_REQUEST, rng)  # type: ignore[index]
    # The list that a user might write: the commonest words, each as often as it occurs, one per request.
    return sample_by_quota([Quota((word,), n) for word, n in islice(counts.counts.items(), LISTED)], rng)


def main() -> None:
    if len(sys.argv) == 3:
        path, column = sys.argv[1:]
    elif "CLOSE_TRANSFER_DATA" in os.environ:
        path = str(Path(os.environ["CLOSE_TRANSFER_DATA"]) / "flickr30k" / "captions_train.jsonl.gz")
        column = "captions"
    else:
        sys.exit(
            "there are no texts. Give a file and its column, or set CLOSE_TRANSFER_DATA to a folder with flickr30k/"
        )
    counts = count_keywords(
        read_texts(path, column, "FILE", check_text=True),
        compose_config("synthesize_captions", SynthesizeCaptionsConfig).keywords,
    )
    together = {pair for keyword_set in counts.sets for pair in combinations(sorted(keyword_set), 2)}
    print(f"{counts.num_texts:,} texts, {len(counts.counts):,} keywords; {DRAWS:,} requests per sampler, {SEEDS} seeds")
    print("| sampler | divergence, bits | keywords used | pairs that occur in a text |")
    print("|---|---|---|---|")
    for name in (*SAMPLERS, "list"):
        measurements = []
        for seed in range(SEEDS):
            sets = list(islice(draw_keywords(name, counts, random.Random(seed)), DRAWS))
            words = Counter(word for keyword_set in sets for word in keyword_set)
            pairs = [tuple(sorted(keyword_set)) for keyword_set in sets if len(keyword_set) == 2]
            known = sum(pair in together for pair in pairs) / len(pairs) if pairs else None
            measurements.append((measure_unigram_divergence(words, Counter(counts.counts)), len(words), known))
        divergence = sum(measurement[0] for measurement in measurements) / SEEDS
        known = measurements[0][2]
        share = "one per request" if known is None else f"{known:.0%}"
        label = f"list, the {LISTED} commonest by quota" if name == "list" else name
        print(f"| {label} | {divergence:.4f} | {measurements[0][1]:,} | {share} |")


if __name__ == "__main__":
    main()
