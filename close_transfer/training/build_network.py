"""Network of a run: built for a new run, or loaded from the last checkpoint."""

from collections.abc import Iterable, Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from close_transfer.config.train import TrainConfig
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.adapters import Statistics
from close_transfer.models.language_models import LanguageModel, build_language_model
from close_transfer.models.lm_wrappers import check_positions
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.models.pretrained import load_saved_tokenizer
from close_transfer.models.saved_config import SavedNoise, SavedStatistics, SavedTask
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.run_folder import RunFolder


def build_network(
    config: TrainConfig,
    encoder: AnyEncoder,
    texts: Iterable[str],
    statistics: Statistics,
    statistics_summary: SavedStatistics | None,
    noise: SavedNoise,
    data_regime: str,
) -> tuple[TransferNetwork, PreTrainedTokenizerBase]:
    """Return an untrained mapper with a new or pretrained language model, and its tokenizer.

    Weights are drawn from PyTorch's global generator.

    Args:
        config: settings of the run.
        encoder: encoder of the vectors that the network will read.
        texts: prompts and targets; a new tokenizer is trained on them.
        statistics: statistics that the adapters are fitted to.
        statistics_summary: description of the statistics for the results; None if none were given.
        noise: description of the noise, as the saved model holds it.
        data_regime: data regime of the training data and the noise, "T0" to "T4"; adapters may raise it.

    Raises:
        UserError: if the language model cannot be built or loaded.
    """
    lm = build_language_model(config.lm, texts)
    network = assemble_network(config, encoder, lm, statistics, noise, data_regime, statistics_summary)
    return network, lm.tokenizer


def assemble_network(
    config: TrainConfig,
    encoder: AnyEncoder,
    lm: LanguageModel,
    statistics: Statistics | None,
    noise: SavedNoise,
    data_regime: str,
    statistics_summary: SavedStatistics | None = None,
) -> TransferNetwork:
    """Return a network with this language model; arguments as of `build_network`."""
    network_config = TransferConfig(
        encoder={
            "name": encoder.name,
            "dim": encoder.dim,
            "fingerprint": encoder.fingerprint,
            "config": config.clip.model_dump(mode="json"),
        },
        adapter=config.adapter.list_steps(),
        mapper=config.mapper.model_dump(),
        noise=noise,
        task=cast(SavedTask, config.task.model_dump(exclude_none=True)),
        lm=lm.model.config.to_dict(),
        text_format={"kind": lm.format.kind, "before": list(lm.format.before)},
        base_model=lm.base_model,
        statistics=statistics_summary,
    )
    network = TransferNetwork(network_config, lm.model, statistics)
    network.config.data_regime = max(data_regime, network.adapter.data_regime)
    return network


def load_last_network(folder: RunFolder) -> tuple[TransferNetwork, PreTrainedTokenizerBase]:
    """Return the network and tokenizer of a run's last checkpoint.

    Raises:
        UserError: if the checkpoint is missing or damaged.
    """
    last = folder.find_intact_checkpoint("last")
    return TransferNetwork.from_pretrained(last), load_saved_tokenizer(last)


def check_prompt_lengths(
    config: TrainConfig, network: TransferNetwork, scenes: SceneVectors, examples: Sequence[TokenizedExamples]
) -> None:
    """Check that the longest prompt and a target fit into the language model, after the prefix tokens.

    Raises:
        UserError: if they do not fit.
    """
    mapper = network.mapper
    prefix = mapper.tokens_per_vector * scenes.matrix.vectors_per_row + mapper.more_tokens
    before, target = len(network.config.text_format["before"]), config.task.max_target_tokens
    remedy = (
        "Give task.max_target_tokens, task.max_prompt_tokens or mapper.num_tokens a smaller value, or use another "
        "language model"
    )
    longest_prompt = max(part.longest_prompt for part in examples)
    check_positions(network.lm, before + prefix + longest_prompt, target, remedy)
