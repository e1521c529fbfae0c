"""Writes a corpus of synthetic captions, and describes it.

    python scripts/synthesize_captions.py
    python scripts/synthesize_captions.py action=plan source=openai model=gpt-4.1-mini references=captions.jsonl num=100000
    python scripts/synthesize_captions.py source=openai model=gpt-4.1-mini references=captions.jsonl num=100000 max_cost=20
    python scripts/synthesize_captions.py recipe=egocentric source=transformers model=FOLDER references=captions.txt

All settings: configs/synthesize.yaml. Recipes: configs/recipe/. More: docs/synthetic_text.md.
"""

import sys

from close_transfer.core.command_line import USER_ERROR_STATUS, command
from close_transfer.core.errors import UserError
from textgen.config import SynthesisConfig
from textgen.corpus.folder import remembered
from textgen.pipeline import synthesize

if __name__ == "__main__":
    try:
        typed = remembered(sys.argv[1:], "runs/synthetic/{recipe}", "coco-style")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)
    sys.argv[1:] = typed

    @command("synthesize", SynthesisConfig)
    def main(config: SynthesisConfig) -> None:
        sys.exit(synthesize(config, typed))

    main()
