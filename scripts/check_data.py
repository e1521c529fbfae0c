"""Check that the files of a published dataset are there, and compare their counts with the published ones.

    python scripts/check_data.py data=coco
    python scripts/check_data.py data=all
    python scripts/check_data.py data=flickr30k leakage=true

Exit status: 0 if every file is there with the published counts, and so are the images that an evaluation needs; 1 if
something is missing, damaged or has another size; 2 if a setting is wrong. More: docs/data.md.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "check_data")
