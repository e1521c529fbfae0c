"""Folder of a captioner's encoder, which is a part of the captioner's own folder and may be moved with it."""

from pathlib import Path

from close_transfer.config.components import CaptionerEncoderConfig, ClipConfig

ENCODER_FOLDER = "encoder"  # name of the encoder's folder in the folder of a captioner
SIZES_FILE = "encoder.json"


def prefer_own_encoder(clip: ClipConfig, folder: Path) -> ClipConfig:
    """Return the settings of a model's encoder; of a captioner's, that in the model's own folder, which may have moved."""
    own = folder.resolve() / ENCODER_FOLDER
    if not isinstance(clip, CaptionerEncoderConfig) or not (own / SIZES_FILE).is_file():
        return clip
    return clip.model_copy(update={"model": str(own)})
