"""Write Picturebook's captions, or questions with their answers, as JSON lines; no image is drawn.

    python scripts/write_picturebook_text.py output=captions.jsonl
    python scripts/write_picturebook_text.py what=questions output=questions.jsonl
    python scripts/write_picturebook_text.py what=questions per_line=5 output=several.jsonl   # five examples per line, for few-shot prompts

All settings: configs/write_picturebook_text.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "write_picturebook_text")
