"""Loads a trained model, and checks that an encoder is the one it was trained with."""

from pathlib import Path

import torch
import transformers
from pydantic import TypeAdapter, ValidationError

from close_transfer.config.components import ClipConfig
from close_transfer.core.errors import UserError
from close_transfer.encoders import AnyEncoder
from close_transfer.models.network import TransferNetwork
from close_transfer.training.run_folder import RunFolder


def load_model(
    run: Path, checkpoint: str, device: str, base_model: str | None = None
) -> tuple[TransferNetwork, transformers.PreTrainedTokenizerBase]:
    """A run's model and tokenizer, ready for inference.

    Args:
        run: its folder.
        checkpoint: "best" or "last".
        device: as `pick_device` gives it.
        base_model: as of `TransferNetwork.from_pretrained`.

    Raises:
        UserError: if there is no such checkpoint, or it is damaged; as `TransferNetwork.from_pretrained`.
    """
    transformers.utils.logging.disable_progress_bar()
    folder = RunFolder(run).find_intact_checkpoint(checkpoint)
    model = TransferNetwork.from_pretrained(folder, base_model=base_model).eval()
    model.to(torch.device(device))
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def load_encoder_settings(model: TransferNetwork) -> ClipConfig:
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
