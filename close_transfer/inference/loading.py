"""Loading of a trained model, and the check that an encoder is the one it was trained with."""

from pathlib import Path

import torch
import transformers
from pydantic import TypeAdapter, ValidationError

from close_transfer.config.components import ClipConfig, TaskConfig
from close_transfer.config.encoder_folder import prefer_own_encoder
from close_transfer.core.errors import UserError
from close_transfer.core.schema import describe_first_problem
from close_transfer.encoders import AnyEncoder
from close_transfer.models.network import TransferNetwork
from close_transfer.models.pretrained import load_saved_tokenizer
from close_transfer.training.run_folder import RunFolder


def load_model(
    run: Path, checkpoint: str, device: str, base_model: str | None = None
) -> tuple[TransferNetwork, transformers.PreTrainedTokenizerBase]:
    """Load a run's model and tokenizer for inference.

    Args:
        run: folder of the run.
        checkpoint: "best" or "last".
        device: device, as `pick_device` returns it.
        base_model: see `TransferNetwork.from_pretrained`.

    Raises:
        UserError: if there is no such checkpoint, it is damaged, or its base language model cannot be loaded.
    """
    # Checkpoints load in seconds, so transformers' progress bar is only noise between a command's lines.
    transformers.utils.logging.disable_progress_bar()
    folder = RunFolder(run).find_intact_checkpoint(checkpoint)
    model = TransferNetwork.from_pretrained(folder, base_model=base_model).eval()
    model.to(torch.device(device))
    return model, load_saved_tokenizer(folder)


def load_task_settings(model: TransferNetwork) -> TaskConfig:
    """Return the settings of the task that the model was trained for.

    Raises:
        UserError: if this version cannot read them.
    """
    try:
        return TaskConfig.model_validate(model.config.task)
    except ValidationError as error:
        raise UserError(
            f"the settings of this model's task cannot be read ({describe_first_problem(error)}). Restore its "
            "config.json from a copy, or use the version of close-transfer that trained it"
        ) from None


def load_encoder_settings(model: TransferNetwork) -> ClipConfig:
    """Return the settings of the encoder that the model was trained with, from the model's own folder if it is there.

    Raises:
        UserError: if this version cannot read them.
    """
    trained = model.config.encoder
    try:
        settings = TypeAdapter(ClipConfig).validate_python(trained["config"])
    except (KeyError, ValidationError):
        raise UserError(
            f"the settings of this model's encoder {trained['name']} cannot be read, because another version of "
            "close-transfer trained it. Use that version, or train the model again"
        ) from None
    if not model.name_or_path:
        return settings
    folder = Path(model.name_or_path).resolve()  # a saved model's holds the encoder; a checkpoint's is in its run's
    return prefer_own_encoder(prefer_own_encoder(settings, folder.parent), folder)


def check_encoder(encoder: AnyEncoder, model: TransferNetwork) -> None:
    """Check that an encoder is the one that the model was trained with.

    Raises:
        UserError: if its width or its weights differ.
    """
    trained = model.config.encoder
    if encoder.dim != trained["dim"]:
        raise UserError(
            f"the vectors of {encoder.name} have {encoder.dim} dimensions, but the run was trained on {trained['name']} "
            f"with {trained['dim']}. Use that encoder"
        )
    # Vectors from files carry no fingerprint of the weights that made them, so only their width is compared.
    if (
        encoder.fingerprint != trained["fingerprint"]
        and not encoder.fingerprint.startswith("precomputed")
        and not trained["fingerprint"].startswith("precomputed")
    ):
        raise UserError(
            f"{encoder.name} has other weights than the encoder {trained['name']} that the run was trained on "
            f"(fingerprint {encoder.fingerprint[:12]}, not {trained['fingerprint'][:12]}). Use the same weights file"
        )
