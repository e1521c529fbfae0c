"""Draw a contact sheet of Picturebook: scenes of one split, each with two of its captions.

python scripts/draw_picturebook.py output=docs/images/picturebook.png
"""

from close_transfer.cli import run

if __name__ == "__main__":
    run("draw_picturebook")
