"""Generate a corpus of synthetic captions, and describe it.

    python scripts/synthesize_captions.py
    python scripts/synthesize_captions.py action=plan source=openai model=gpt-4.1-mini references=captions.jsonl num_texts=100000
    python scripts/synthesize_captions.py source=openai model=gpt-4.1-mini references=captions.jsonl num_texts=100000 max_cost=20
    python scripts/synthesize_captions.py recipe=egocentric source=transformers model=FOLDER references=captions.txt

All settings: configs/synthesize_captions.yaml. Recipes: configs/recipe/. More: docs/synthetic_text.md.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("textgen.command")
