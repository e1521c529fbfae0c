"""Source `transformers`: a causal language model in this process.

Torch and transformers are imported when a model is loaded, because other sources do not need them.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from close_transfer.core.errors import UserError
from close_transfer.core.loading_report import check_loading_info, explain_loading_error
from close_transfer.core.model_folder import build_custom_code_error, check_model_folder, is_custom_code_error
from close_transfer.core.signals import StopRequest
from close_transfer.core.weight_headers import count_tensors, limit_parameters
from textgen.config import LocalSettings
from textgen.corpus.journal import RequestJournal
from textgen.corpus.ledger import Caps, Spend
from textgen.corpus.prices import FREE
from textgen.generators.events import make_answer_event, make_fault_event
from textgen.generators.openai_api import Parameters
from textgen.generators.responses import Reply, RequestError
from textgen.prompts.recipe import Recipe, Request


@dataclass
class LocalModel:
    """Causal language model with its tokenizer.

    Attributes:
        name: folder or name of a model, as transformers takes it.
        settings: batch size, device and number format.
        parameters: system message, sampling and token limit.
    """

    name: str
    settings: LocalSettings
    parameters: Parameters

    def __post_init__(self) -> None:
        """Load model and tokenizer.

        Raises:
            UserError: if the model, the device or a library is missing.
        """
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise UserError(
                f"source=transformers: needs torch and transformers ({error}). Run pip install torch transformers, or give "
                "source=openai with a server, or source=grammar"
            ) from None

        check_model_folder(self.name)
        device = self.settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            # Padding on the left, so that generation continues each prompt right at its end.
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                self.name, padding_side="left", trust_remote_code=False
            )
            family: Any = AutoModelForCausalLM
            limit = limit_parameters(
                lambda: count_tensors(self.name),
                f"{self.name}/config.json",
                torch.nn.modules.module.register_module_parameter_registration_hook,
            )
            with limit:
                self._model, info = family.from_pretrained(
                    self.name,
                    dtype=self.settings.dtype,
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                )
        except UserError:
            raise
        except Exception as error:  # of many kinds: of JSON, of transformers, of safetensors
            if is_custom_code_error(error):
                raise build_custom_code_error(f"model={self.name}") from None
            raise UserError(
                f"model={self.name}: transformers cannot load it ({explain_loading_error(error)}). Give the folder or name of a "
                "causal language model"
            ) from None
        check_loading_info(f"model={self.name}", info, [name for name, _ in self._model.named_parameters()])
        try:
            self._model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"local.device={device}: {str(error).splitlines()[0]}. Give auto, cpu or cuda") from None
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or "<pad>"

    def _encode_prompt(self, prompt: str) -> list[int]:
        """Encode a prompt as a chat if the tokenizer has a chat template, else as plain text."""
        if self._tokenizer.chat_template is None:
            text = "\n\n".join(filter(None, [self.parameters.system, prompt]))
            return list(self._tokenizer(text)["input_ids"])
        messages = [{"role": "system", "content": self.parameters.system}] if self.parameters.system else []
        messages.append({"role": "user", "content": prompt})
        encoded = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])

    def bound_tokens(self, prompts: Sequence[str]) -> int:
        """Return an upper bound of the tokens of the prompts and their answers."""
        return sum(len(self._encode_prompt(prompt)) + self.parameters.max_output_tokens for prompt in prompts)

    def answer(self, prompts: Sequence[str], seed: int) -> list[Reply]:
        """Answer a batch of prompts; the same prompts and seed give the same answers on the same machine.

        Raises:
            UserError: if a prompt and its answer exceed the model's context.
        """
        import torch

        ids = [self._encode_prompt(prompt) for prompt in prompts]
        self._check_length(max(map(len, ids)))
        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self._model.device)
        sampling: dict[str, Any] = {"do_sample": False}
        if self.parameters.temperature != 0:
            # Many models' own settings limit top_k; only the recipe's settings should decide the sampling.
            sampling = {"do_sample": True, "temperature": self.parameters.temperature, "top_p": self.parameters.top_p}
            sampling = {name: value for name, value in sampling.items() if value is not None} | {"top_k": 0}
        torch.manual_seed(seed)
        with torch.inference_mode():
            output_ids = self._model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=self.parameters.max_output_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                **sampling,
            )
        return [
            self._make_reply(len(prompt_ids), row[batch["input_ids"].shape[1] :].tolist())
            for prompt_ids, row in zip(ids, output_ids, strict=True)
        ]

    def _check_length(self, num_input: int) -> None:
        limit = getattr(self._model.config, "max_position_embeddings", None)
        if limit is not None and num_input + self.parameters.max_output_tokens > limit:
            raise UserError(
                f"model={self.name}: has a context of {limit} tokens, and a prompt has {num_input} before an answer of "
                f"max_output_tokens={self.parameters.max_output_tokens}. Show fewer examples (recipe.examples_per_request=), "
                "lower max_output_tokens=, or give another model"
            )

    def _make_reply(self, num_input: int, ids: list[int]) -> Reply:
        end_ids = self._model.generation_config.eos_token_id
        end_ids = set(end_ids if isinstance(end_ids, list) else [end_ids]) | {self._tokenizer.eos_token_id}
        length = next((place for place, token in enumerate(ids) if token in end_ids), None)
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=True)
        num_output = len(ids) if length is None else length + 1
        return Reply(text, None, num_input, num_output, self.name, is_truncated=length is None)


def write_by_model(
    plan: Iterable[Request],
    recipe: Recipe,
    model: LocalModel,
    journal: RequestJournal,
    render_prompt: Callable[[Request], str],
    stop: StopRequest,
    caps: Caps,
) -> str | None:
    """Answer a plan in batches.

    A batch always has the same requests, even if some were answered before, so that a resumed run writes the same texts
    as an uninterrupted one. A truncated or unreadable answer is not tried again, because the same prompt and seed give
    the same answer.

    Args:
        plan: all requests of the plan, in order.
        recipe: recipe, which decides the shape of an answer.
        model: the model.
        journal: journal of the answers.
        render_prompt: function of a request; returns its prompt.
        stop: request to stop by a signal.
        caps: caps on the spend of the whole corpus.

    Returns:
        the reason why it ended early, or None.
    """
    size = model.settings.batch_size
    with tqdm(unit="request") as bar:
        for block in _split_into_blocks(plan, size):
            todo = [
                request
                for request in block
                if request.id not in journal.ledger.answered and request.id not in journal.ledger.failed
            ]
            if todo:
                if stop.asked:
                    return "a signal"
                tokens_after = journal.ledger.spent.tokens + model.bound_tokens(
                    [render_prompt(request) for request in todo]
                )
                if cap := caps.find_reached(Spend(tokens_after)):
                    return cap
                replies = model.answer([render_prompt(request) for request in block], _derive_seed(block))
                for request, reply in zip(block, replies, strict=True):
                    if request in todo:
                        _record_reply(journal, request, reply, recipe, model.parameters.max_output_tokens)
            bar.update(len(block))
    return None


def _split_into_blocks(plan: Iterable[Request], size: int) -> Iterator[list[Request]]:
    requests = iter(plan)
    while block := list(itertools.islice(requests, size)):
        yield block


def _derive_seed(block: Sequence[Request]) -> int:
    # From the ids, so that a batch's seed does not depend on its place in the plan; 7 bytes fit torch's signed 64 bits.
    return int.from_bytes(hashlib.sha256("".join(request.id for request in block).encode()).digest()[:7])


def _record_reply(
    journal: RequestJournal, request: Request, reply: Reply, recipe: Recipe, max_output_tokens: int
) -> None:
    try:
        journal.append(make_answer_event(request.id, 1, reply, recipe.settings, FREE, Spend(), max_output_tokens))
    except RequestError as fault:
        journal.append(make_fault_event(request.id, 1, fault, FREE, Spend()))
        journal.append({"event": "gave_up", "id": request.id, "fault": fault.kind})
