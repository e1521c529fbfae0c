"""The model: adapter, mapper and language model as one transformers `PreTrainedModel`.

It sees vectors and token ids. Which encoder the vectors come from, which task is served and how
text is to be shaped is written in its config, so that a saved folder is all that inference needs.

Shapes: b scenes, d width of the vectors, p prompt tokens, s = mapper's tokens + p, t targets
(several of one scene allowed), l target tokens, v vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from close_transfer.adapters import Chain, Fit, Modality, NoiseSource, Statistics
from close_transfer.mappers import MAPPERS

IGNORED = -100  # label of a padded target token


class TransferConfig(PreTrainedConfig):
    """Everything that inference needs besides the weights.

    Attributes:
        encoder: name, fingerprint and dim of the frozen encoder, and how to build it again.
        adapter: name and settings of each adapter, in their order.
        mapper: its name and numbers.
        noise: what training added, in all units (std, variance, length, cosine), and the `choice` of a rule.
        task: the task's name, token limits, lower-casing and number of beams.
        regime: what training saw: "T0" text only, "T1" unpaired pictures too, "T4" pictures paired with text.
        lm: the language model's own config.
        statistics: what the adapters' statistics were measured on; None where none were read.
    """

    model_type = "close_transfer"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        adapter: list[dict[str, Any]] | None = None,
        mapper: dict[str, Any] | None = None,
        noise: dict[str, Any] | None = None,
        task: dict[str, Any] | None = None,
        regime: str = "T0",
        lm: dict[str, Any] | None = None,
        statistics: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.adapter = adapter or []
        self.mapper = mapper or {}
        self.noise = noise or {}
        self.task = task or {}
        self.regime = regime
        self.lm = lm or {}
        self.statistics = statistics
        super().__init__(**kwargs)


class TransferModel(PreTrainedModel):
    """Writes text from vectors; trained on text vectors, fed picture vectors at test time."""

    config_class = TransferConfig
    base_model_prefix = ""
    main_input_name = "vectors"

    def __init__(
        self, config: TransferConfig, lm: PreTrainedModel | None = None, statistics: Statistics | None = None
    ) -> None:
        """Builds the parts the config names.

        Args:
            config: see `TransferConfig`.
            lm: a language model that is there already (pretrained, say); built from
                ``config.lm`` with random weights when None.
            statistics: what adapters are fitted by; None when weights are about to be loaded.
        """
        super().__init__(config)
        self.adapter = Chain(config.adapter, Fit(config.encoder["dim"], config.noise["std"], statistics))
        self.lm = lm if lm is not None else AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(**config.lm))
        self.mapper = MAPPERS[config.mapper["name"]](
            config.encoder["dim"],
            self.lm.config.hidden_size,
            config.mapper["num_tokens"],
            config.mapper["num_constant_tokens"],
        )
        # Set for testing only: projects adapted vectors on a memory of texts (`memory.py`).
        self.memory: Callable[[Tensor], Tensor] | None = None
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Parts initialise themselves when they are built."""

    def encode_inputs(
        self,
        vectors: Float[Tensor, "b d"],
        prompt_ids: Int[Tensor, "b p"],
        prompt_mask: Int[Tensor, "b p"],
        modality: Modality,
        noise: NoiseSource | None = None,
    ) -> tuple[Float[Tensor, "b s h"], Int[Tensor, "b s"]]:
        """The language model's encoder states of the vector's tokens, then the prompt; and their mask."""
        adapted = self.adapter(vectors, modality, noise)
        prefix = self.mapper(adapted if self.memory is None else self.memory(adapted))
        prompt = self.lm.get_input_embeddings()(prompt_ids).to(prefix.dtype)
        mask = torch.cat([prompt_mask.new_ones(prefix.shape[:2]), prompt_mask], dim=1)
        embedded = torch.cat([prefix, prompt], dim=1)
        states = self.lm.get_encoder()(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        return states, mask

    def forward(
        self,
        vectors: Float[Tensor, "b d"],
        prompt_ids: Int[Tensor, "b p"],
        prompt_mask: Int[Tensor, "b p"],
        labels: Int[Tensor, "t l"],
        scene_of_target: Int[Tensor, " t"],
        modality: Modality,
        noise: NoiseSource | None = None,
    ) -> Float[Tensor, "t l v"]:
        """Logits of every target token. A scene is encoded once, however many targets it has.

        Args:
            vectors: raw vectors of the encoder, of any length.
            prompt_ids, prompt_mask: prompts, p may be 0.
            labels: target token ids, `IGNORED` where padded.
            scene_of_target: which scene each target belongs to.
            modality, noise: see `Chain`.
        """
        states, mask = self.encode_inputs(vectors, prompt_ids, prompt_mask, modality, noise)
        return self.lm(
            encoder_outputs=BaseModelOutput(last_hidden_state=states[scene_of_target]),
            attention_mask=mask[scene_of_target],
            labels=labels,
            use_cache=False,
        ).logits


AutoConfig.register(TransferConfig.model_type, TransferConfig)
