"""Time and memory of textgen's filters for a million captions, and the near duplicates that they find.

    python benchmarks/near_duplicates.py                 # a million captions
    python benchmarks/near_duplicates.py 100000

The captions have 9 to 13 words, drawn with a fixed seed from frames and word lists in this file. Every tenth repeats an
earlier one with another last word, without one of its inner words, or in capitals. Prints seconds, largest resident
memory and the share of planted duplicates at or above the threshold that were found, for the near-duplicate stage alone
and then for the whole chain.
"""

import random
import resource
import sys
import time
from collections import Counter

from close_transfer.core.command_line import compose_config
from close_transfer.core.text_normalization import normalize_text
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.candidate import Candidate
from textgen.filters import build_chain, run_chain
from textgen.filters.duplicates import NearDuplicates
from textgen.filters.near import measure_similarity

LISTS = {
    "ADJ": ["red", "blue", "small", "large", "young", "old", "wooden", "bright", "tired", "happy", "wet", "dirty", "quiet", "striped", "tall", "short", "orange", "green", "heavy", "empty", "crowded", "narrow", "muddy", "sunny", "snowy", "rusty", "shiny", "dusty", "busy", "lonely"],
    "WHO": ["man", "woman", "boy", "girl", "dog", "cat", "child", "runner", "biker", "skater", "singer", "farmer", "soldier", "worker", "chef", "nurse", "painter", "dancer", "surfer", "hiker", "driver", "guitarist", "couple", "toddler", "teenager", "horse", "bird", "team", "crowd", "family"],
    "DOES": ["watches", "holds", "carries", "paints", "repairs", "pushes", "pulls", "throws", "catches", "photographs", "washes", "cleans", "follows", "chases", "climbs", "inspects", "decorates", "lifts", "ignores", "guards"],
    "WHAT": ["ball", "bicycle", "guitar", "camera", "ladder", "boat", "kite", "bench", "fence", "wagon", "bucket", "basket", "umbrella", "statue", "drum", "tent", "rope", "sled", "barrel", "canoe", "piano", "tractor", "scooter", "lamp", "banner", "cake", "bottle", "chair", "table", "tree"],
    "PLACE": ["river", "market", "street", "beach", "garden", "bridge", "station", "school", "church", "stadium", "forest", "field", "lake", "mountain", "kitchen", "museum", "harbor", "playground", "parade", "castle", "road", "restaurant", "tower", "fountain", "farm", "shop", "hotel", "pool", "park", "house"],
    "NEAR": ["near", "beside", "behind", "outside", "by", "opposite", "above", "below", "past", "toward"],
    "END": ["today", "together", "again", "slowly", "carefully", "outdoors", "alone", "happily", "quickly", "quietly"],
}  # fmt: skip
FRAMES = [
    frame.split()
    for frame in (
        "a ADJ WHO DOES a ADJ WHAT NEAR the PLACE END",
        "the ADJ WHO DOES another ADJ WHAT NEAR a ADJ PLACE",
        "one WHO and a ADJ WHO stand NEAR the ADJ PLACE END",
        "NEAR the ADJ PLACE a WHO DOES a ADJ WHAT END",
        "two people with a ADJ WHAT and a WHAT walk NEAR a ADJ PLACE",
        "a WHO with a ADJ WHAT waits NEAR the PLACE for a ADJ WHO",
    )
]
EVERY = 10  # one of these many captions is a planted duplicate
REFERENCES, EVALUATION = 20_000, 5_000


def write_caption(rng: random.Random) -> str:
    return " ".join(rng.choice(LISTS[word]) if word in LISTS else word for word in rng.choice(FRAMES))


def plant_duplicate(text: str, rng: random.Random) -> tuple[str, str]:
    """Return a near duplicate of a caption, and its kind."""
    words = text.split()
    kind = rng.choice(("last word exchanged", "inner word left out", "in capitals"))
    if kind == "last word exchanged":
        words[-1] = rng.choice(LISTS["WHAT"])
    elif kind == "inner word left out":
        del words[rng.randrange(1, len(words) - 1)]
    else:
        words = [word.upper() for word in words]
    return " ".join(words), kind


def measure_resident_memory() -> float:
    """Return the largest resident memory so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rng = random.Random(0)
    candidates: list[Candidate] = []
    kinds: dict[str, str] = {}
    config = compose_config("synthesize_captions", SynthesizeCaptionsConfig, ["recipe.words=[3,40]"])
    settings = config.filters
    threshold = settings.near_duplicates
    assert threshold
    for number in range(num):
        text = write_caption(rng)
        if number % EVERY == EVERY - 1:
            original = candidates[rng.choice(range(number // EVERY + 1)) * EVERY].text  # an original, not a planted one
            text, kind = plant_duplicate(original, rng)
            if measure_similarity(normalize_text(text), normalize_text(original)) >= threshold:
                kinds[str(number)] = kind
        words = text.lower().split()
        candidates.append(Candidate(str(number), str(number), text, keywords=(words[1], words[-1])))
    print(
        f"{num:,} captions, {len(kinds):,} planted at {threshold} or above; {measure_resident_memory():.2f} GiB before the filters"
    )

    began = time.perf_counter()
    reasons = NearDuplicates(threshold).find_reasons(candidates)
    print(f"near duplicates alone: {time.perf_counter() - began:.0f} s, {measure_resident_memory():.2f} GiB")
    removed = {candidate.id for candidate, reason in zip(candidates, reasons, strict=True) if reason}
    for kind, count in sorted(Counter(kinds.values()).items()):
        num_found = sum(1 for number in removed if kinds.get(number) == kind)
        print(f"  {kind}: {num_found:,} of {count:,} found, {num_found / count:.2%}")
    print(f"  not planted, near by chance: {len(removed - kinds.keys()):,}")

    began = time.perf_counter()
    stages = build_chain(
        settings,
        config.recipe,
        instructions="Write one caption for a photograph that shows {{ keywords }}. Use plain words and one sentence.",
        examples=[write_caption(rng) for _ in range(20)],
        references=[write_caption(rng) for _ in range(REFERENCES)],
        evaluation=[write_caption(rng) for _ in range(EVALUATION)],
    )
    result = run_chain(stages, candidates)
    print(
        f"whole chain: {time.perf_counter() - began:.0f} s, {measure_resident_memory():.2f} GiB, {len(result.kept):,} kept"
    )
    for stage in result.stages:
        print(f"  {stage.name}: {stage.num_out:,} of {stage.num_in:,} taken out")


if __name__ == "__main__":
    main()
