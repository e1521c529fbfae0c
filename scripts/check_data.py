"""Checks what is there of a published dataset, counts it against what is published, and says what is missing.

    python scripts/check_data.py data=coco
    python scripts/check_data.py data=all
    python scripts/check_data.py data=flickr30k leakage=true

Exit status: 0 if every file is there with the published counts, and the images an evaluation needs;
1 if something is missing, damaged or of another size; 2 if a setting is wrong. docs/data.md tells more.
"""

from close_transfer.cli import run

if __name__ == "__main__":
    run("check_data")
