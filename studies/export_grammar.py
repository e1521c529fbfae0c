"""Export of a grammar for textgen, derived from the captions of Picturebook's `train` split only."""

import random
from collections.abc import Sequence
from pathlib import Path

import yaml

from close_transfer.core.atomic_files import write_text
from close_transfer.core.console import show
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.grammar_frames import extract_frames
from close_transfer.data.picturebook.scenes import scenes
from studies.config import ExportGrammarConfig
from textgen.grammar.grammar import Grammar
from textgen.text.statistics import count_words, measure_unigram_divergence


def _show_comparison(originals: Sequence[str], written: Sequence[str]) -> None:
    counts = count_words(originals), count_words(written)
    show(
        f"words per caption: {counts[0].total() / len(originals):.2f} in the split, "
        f"{counts[1].total() / len(written):.2f} by the grammar"
    )
    show(f"Jensen-Shannon divergence of their word frequencies: {measure_unigram_divergence(*counts):.4f} bits")
    distinct = set(written)
    show(
        f"{len(distinct):,} of the grammar's {len(written):,} captions are distinct; "
        f"{len(distinct & set(originals)):,} of them are in the split too"
    )


def main(config: ExportGrammarConfig) -> None:
    """Write the grammar, and print how its captions compare with those of the split."""
    texts = [caption.text for scene in scenes("train", config.num_train, config.seed) for caption in captions(scene)]
    frames = extract_frames(texts, config.min_count, config.min_expected)
    document = {
        "origin": f"Picturebook, the captions of {config.num_train:,} scenes of split train, seed {config.seed}",
        "licence": "as Picturebook's captions: the licence of this repository",
        "apart": frames.apart,
        "symbols": frames.symbols,
    }
    header = (
        "# Frames and words of Picturebook's captions, with their counts. Made by:\n"
        f"#   python scripts/export_grammar.py num_train={config.num_train} seed={config.seed} "
        f"min_count={config.min_count} min_expected={config.min_expected}\n"
        "# What the sections mean: textgen/grammar.py.\n"
    )
    path = Path(config.output)
    write_text(path, header + yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True))
    show(
        f"{path}: {path.stat().st_size / 1000:.0f} kB, with the frames of {frames.share:.1%} of {len(texts):,} captions"
    )
    grammar = Grammar.read(path)
    rng = random.Random(config.seed)
    _show_comparison(texts, [grammar.write(["caption"], 1, (), {}, rng)[0]["caption"] for _ in texts])
