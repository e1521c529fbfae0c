"""Trains Picturebook's own CLIP on the `clip` split and measures it on `test`.

    python scripts/train_picturebook_clip.py output=my_clip
    python scripts/train_picturebook_clip.py learn_temperature=true output=my_clip

Use it with clip.model=local-dir:my_clip. All settings: configs/picturebook_clip.yaml.
"""

from close_transfer.cli import command
from close_transfer.config.train_picturebook_clip import ContrastiveConfig
from close_transfer.pipelines.train_picturebook_clip import train_clip


@command("picturebook_clip", ContrastiveConfig)
def main(config: ContrastiveConfig) -> None:
    for name, value in train_clip(config).items():
        print(f"  {name:<24} {value:.3f}")
    print(f"saved to {config.output}")


if __name__ == "__main__":
    main()
