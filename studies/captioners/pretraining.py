"""Commands that pretrain the encoders of the study, and how other commands take the folders that they write."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pretraining:
    """Command that pretrains an encoder.

    Attributes:
        summary: name of the file that a finished training leaves, with a field `stopped_early`.
        encoder: settings of other commands that name its image encoder, with {folder} for the output folder.
        scorer: settings of eval_composition.py that name the model, which probe_encoder.py takes too, for zero-shot
            classification; empty if it does not score texts.
        is_captioner: True if it writes captions, so that its validation loss is that of their tokens.
    """

    summary: str
    encoder: tuple[str, ...]
    scorer: tuple[str, ...]
    is_captioner: bool

    def name_encoder(self, folder: Path) -> tuple[str, ...]:
        """Return the settings that name the image encoder in a folder."""
        return tuple(setting.format(folder=folder) for setting in self.encoder)

    def name_scorer(self, folder: Path) -> tuple[str, ...]:
        """Return the settings that name the model in a folder as a scorer of texts; empty if it is none."""
        return tuple(setting.format(folder=folder) for setting in self.scorer)


_ENCODER = ("clip=captioner", "clip.model={folder}")

PRETRAINING = {
    "train_captioner": Pretraining("captioner.json", _ENCODER, ("run={folder}",), is_captioner=True),
    # The encoder is the image tower without its projection, at the same place as a captioner's.
    "train_text_tower": Pretraining(
        "text_tower.json", _ENCODER, ("clip=open_clip", "clip.model=local-dir:{folder}"), is_captioner=False
    ),
    "train_image_encoder": Pretraining("image_encoder.json", _ENCODER, (), is_captioner=False),
}
