"""Draw a contact sheet of Picturebook: scenes of one split, each with two of its captions.

python scripts/draw_picturebook.py output=docs/images/picturebook.png
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "draw_picturebook")
