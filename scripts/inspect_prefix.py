"""Reads the tokens that stand for an image in front of the language model as their nearest words.

    python scripts/inspect_prefix.py
    python scripts/inspect_prefix.py run=runs/captioning/latest images=photo.jpg

All settings: configs/inspect_prefix.yaml.
"""

from close_transfer.cli import run

if __name__ == "__main__":
    run("inspect_prefix")
