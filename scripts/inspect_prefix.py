"""Show the nearest words of the tokens that represent an image for the language model.

    python scripts/inspect_prefix.py
    python scripts/inspect_prefix.py run=runs/captioning/latest images=photo.jpg

All settings: configs/inspect_prefix.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "inspect_prefix")
