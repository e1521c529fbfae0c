"""Builds or loads the parts that training, evaluation and prediction share."""

from pathlib import Path

import torch
import transformers
from pydantic import TypeAdapter, ValidationError

from close_transfer.config import ClipConfig, DataConfig, PrecomputedConfig, TableData, TimmConfig
from close_transfer.core.errors import UserError
from close_transfer.data.sources.table import count_lines, lines_of_text
from close_transfer.encoders import AnyEncoder, PrecomputedEncoder, load_encoder
from close_transfer.encoders.encoder import reads_no_text
from close_transfer.models.network import TransferNetwork
from close_transfer.training.checkpoints import RunFolder


def pick_device(device: str) -> str:
    """ "auto" becomes cuda where there is one, else cpu.

    Raises:
        UserError: if the device is asked for and not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device}: PyTorch sees no GPU here; use device=cpu or device=auto")
    if device != "cpu" and not device.startswith("cuda"):
        raise UserError(f"device={device}: allowed are auto, cpu, cuda and cuda:NUMBER")
    return device


def build_encoder(clip: ClipConfig, data: DataConfig, device: str, texts_needed: bool) -> AnyEncoder:
    """The frozen encoder; precomputed vectors are tied to the lines of the data file.

    Raises:
        UserError: if it cannot be built, or vectors do not fit the data.
    """
    if not isinstance(clip, PrecomputedConfig):
        if texts_needed and (isinstance(clip, TimmConfig) or clip.features == "grid"):
            raise reads_no_text(clip.model)
        return load_encoder(clip, device)
    if not isinstance(data, TableData):
        raise UserError("clip=precomputed needs data=table, whose line i belongs to row i of the vectors")
    texts = lines_of_text(data) if texts_needed else None
    return PrecomputedEncoder(clip, len(texts) if texts is not None else count_lines(data), texts)


def load_model(
    run: Path, checkpoint: str, device: str, base: str | None = None
) -> tuple[TransferNetwork, transformers.PreTrainedTokenizerBase]:
    """A run's model and tokenizer, ready for inference.

    Args:
        run: its folder.
        checkpoint: "best" or "last".
        device: as `pick_device` gives it.
        base: as of `TransferNetwork.from_pretrained`.

    Raises:
        UserError: if there is no such checkpoint, or it is damaged; as `TransferNetwork.from_pretrained`.
    """
    transformers.utils.logging.disable_progress_bar()
    folder = RunFolder(run).intact(checkpoint)
    model = TransferNetwork.from_pretrained(folder, base=base).eval()
    model.to(torch.device(device))
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def encoder_settings(model: TransferNetwork) -> ClipConfig:
    """The settings of the encoder that the model was trained with.

    Raises:
        UserError: if another version wrote them.
    """
    trained = model.config.encoder
    try:
        return TypeAdapter(ClipConfig).validate_python(trained["config"])
    except (KeyError, ValidationError):
        raise UserError(f"another version trained this model on {trained['name']}; train it again") from None


def check_encoder(encoder: AnyEncoder, model: TransferNetwork) -> None:
    """Raises a `UserError` unless the encoder is the one the model was trained with."""
    trained = model.config.encoder
    if encoder.dim != trained["dim"]:
        raise UserError(
            f"{encoder.name} gives vectors {encoder.dim} wide, but the run was trained on {trained['name']}, {trained['dim']} wide; use that encoder"
        )
    if (
        encoder.fingerprint != trained["fingerprint"]
        and not encoder.fingerprint.startswith("precomputed")
        and not trained["fingerprint"].startswith("precomputed")
    ):
        raise UserError(
            f"{encoder.name} has other weights than the {trained['name']} the run was trained on (fingerprint {encoder.fingerprint[:12]}, not {trained['fingerprint'][:12]}); use the same file"
        )
