"""The method in one command: three models, the same test images, one report.

    python scripts/demo.py
    python scripts/demo.py task=vqa

Trains on images (the upper bound), on text without noise, and on text with noise (the method),
evaluates each on images, and puts the numbers side by side. Takes the settings of
train_text_only.py, but output= and resume=; noise= is that of the third model.
"""

from close_transfer.cli import run

if __name__ == "__main__":
    run("demo")
