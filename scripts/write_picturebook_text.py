"""Writes Picturebook's text: captions, or questions with their answers, a JSON object a line; no image is drawn.

    python scripts/write_picturebook_text.py output=captions.jsonl
    python scripts/write_picturebook_text.py what=questions output=questions.jsonl
    python scripts/write_picturebook_text.py what=questions per_line=5 output=several.jsonl   # as a few-shot prompt stands

All settings: configs/write_picturebook_text.yaml.
"""

from close_transfer.cli import run

if __name__ == "__main__":
    run("write_picturebook_text")
