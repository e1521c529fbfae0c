"""Train and evaluate three models on the same test images, and report them in one table: the method in one command.

    python scripts/demo.py
    python scripts/demo.py task=vqa

The models are trained on images (the upper bound), on text without noise, and on text with noise (the method). The
settings are those of train_text_only.py without output= and resume=; noise= only applies to the third model.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "demo")
