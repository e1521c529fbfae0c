"""Writes a corpus of synthetic captions, and describes it.

    python scripts/synthesize_captions.py
    python scripts/synthesize_captions.py action=plan source=openai model=gpt-5-mini references=captions.jsonl num=100000
    python scripts/synthesize_captions.py source=openai model=gpt-5-mini references=captions.jsonl num=100000 max_cost=20
    python scripts/synthesize_captions.py recipe=egocentric source=transformers model=FOLDER references=captions.txt

All settings: configs/synthesize.yaml. Recipes: configs/recipe/. More: docs/synthetic_text.md.
"""

import sys

from groundwork.command_line import command
from textgen.config import SynthesisConfig
from textgen.pipeline import synthesize

if __name__ == "__main__":
    typed = sys.argv[1:]

    @command("synthesize", SynthesisConfig)
    def main(config: SynthesisConfig) -> None:
        sys.exit(synthesize(config, typed))

    main()
