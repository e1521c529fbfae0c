"""Builder of the frozen encoder that the settings name."""

from close_transfer.config.components import ClipConfig, PrecomputedConfig
from close_transfer.config.data import DataConfig
from close_transfer.data.sources.file import count_lines, read_text_lines, require_numbered_lines
from close_transfer.encoders import AnyEncoder, PrecomputedEncoder, load_encoder
from close_transfer.encoders.encoder import build_no_text_tower_error


def build_encoder(clip: ClipConfig, data: DataConfig, device: str, texts_needed: bool) -> AnyEncoder:
    """Build the frozen encoder; precomputed vectors are matched with the lines of the data file.

    Args:
        clip: settings of the encoder.
        data: the data to encode.
        device: torch device.
        texts_needed: True if texts will be encoded.

    Raises:
        UserError: if it cannot be built, or precomputed vectors do not fit the data.
    """
    if not isinstance(clip, PrecomputedConfig):
        if texts_needed and not clip.encodes_text:
            raise build_no_text_tower_error(clip.display_name)
        return load_encoder(clip, device)
    file = require_numbered_lines(data)
    texts = read_text_lines(file) if texts_needed else None
    return PrecomputedEncoder(clip, len(texts) if texts is not None else count_lines(file), texts)


def find_encoder_warning(clip: ClipConfig, data: DataConfig | str) -> str:
    """Return a warning if the encoder was made for other data, as the Picturebook CLIP is; else an empty string.

    Args:
        clip: settings of the encoder.
        data: settings of the data; for files without data=, the setting that names them, such as "images=photos".
    """
    name, source = ("", data) if isinstance(data, str) else (data.name, f"data={data.name}")
    if clip.made_for in ("", name):
        return ""
    return (
        f"note: the Picturebook CLIP knows only Picturebook's language, so numbers on {source} are meaningless. "
        "Use clip=open_clip clip.model=NAME (docs/custom_data_and_models.md)"
    )
