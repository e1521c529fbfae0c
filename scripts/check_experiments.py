"""Builds every recipe of configs/experiment/ at full size, with random weights, and trains it for three steps.

python scripts/check_experiments.py                # all of them; needs about 16 GB of memory
python scripts/check_experiments.py capdec close/t5_small
"""

import logging
import sys

from close_transfer.cli import compose_config, options
from close_transfer.config.train import TrainConfig
from close_transfer.recipes import RecipeError, check_recipe


def main() -> None:
    logging.disable(logging.WARNING)  # open_clip warns of random weights, which are meant
    for name in sys.argv[1:] or options("experiment"):
        # What only a user can say: where their data is.
        config = compose_config(
            "train", TrainConfig, [f"experiment={name}", "data.path=DATA"][: 1 + name.startswith("limber")]
        )
        try:
            found = check_recipe(name, config)
        except RecipeError as error:
            sys.exit(f"error: {name}: {error}")
        shape = " x ".join(map(str, found.vectors))
        losses = ", ".join(f"{loss:.2f}" for loss in found.losses) or "shapes only (meta device)"
        print(
            f"{name:<26} vectors {shape:<12} {found.num_parameters / 1e6:>7,.1f}M parameters, "
            f"{found.num_trained / 1e6:>6,.1f}M trained; losses {losses}; {found.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
