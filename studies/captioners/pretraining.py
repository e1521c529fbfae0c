"""Commands that pretrain the encoders of the study, and how other commands take the folders that they write."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pretraining:
    """Command that pretrains an encoder.

    Attributes:
        summary: name of the file that a finished training leaves, with a field `stopped_early`.
        encoder: settings of other commands that name its image encoder, with {folder} for the output folder.
        scorer: settings of eval_composition.py that name the model; empty if it does not score captions.
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
        """Return the settings of eval_composition.py that name the model in a folder; empty if it scores no captions."""
        return tuple(setting.format(folder=folder) for setting in self.scorer)


PRETRAINING = {
    "train_captioner": Pretraining(
        "captioner.json", ("clip=captioner", "clip.model={folder}"), ("run={folder}",), is_captioner=True
    ),
}
