"""List the encoders that can be chosen by name, and what each needs.

    python scripts/list_encoders.py
    python scripts/list_encoders.py name=ViT-L

All settings: configs/list_encoders.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "list_encoders")
