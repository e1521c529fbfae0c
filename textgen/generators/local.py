"""source=transformers: a model of transformers in this process. Torch and transformers are imported here, on use."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.config import LocalSettings
from textgen.corpus.journal import RequestJournal
from textgen.corpus.ledger import Caps, Spend
from textgen.corpus.prices import FREE
from textgen.generators.events import answer_event, make_fault_event
from textgen.generators.openai_api import Parameters
from textgen.generators.responses import Reply, RequestError
from textgen.prompts.recipe import Recipe, Request


@dataclass
class LocalModel:
    """A causal language model with its tokenizer.

    Attributes:
        name: folder or name, as transformers takes it.
    """

    name: str
    settings: LocalSettings
    parameters: Parameters

    def __post_init__(self) -> None:
        """Loads both.

        Raises:
            UserError: if they are not there, or the device is not, or the libraries are not installed.
        """
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise UserError(
                f"source=transformers: needs torch and transformers ({error}); pip install torch transformers, or take "
                "source=openai with a server, or source=grammar"
            ) from None

        device = self.settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(self.name, padding_side="left")
            self._model: Any = AutoModelForCausalLM.from_pretrained(self.name, dtype=self.settings.dtype)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"model={self.name}: transformers cannot load it ({reason}); give a folder or a name of a causal language model"
            ) from None
        try:
            self._model.to(device).eval()  # type: ignore[arg-type]
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"local.device={device}: {str(error).splitlines()[0]}; take auto, cpu or cuda") from None
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or "<pad>"

    def _encode_prompt(self, prompt: str) -> list[int]:
        """As a chat where the tokenizer has a template for one, else as plain text."""
        if self._tokenizer.chat_template is None:
            text = "\n\n".join(filter(None, [self.parameters.system, prompt]))
            return list(self._tokenizer(text)["input_ids"])
        messages = [{"role": "system", "content": self.parameters.system}] if self.parameters.system else []
        messages.append({"role": "user", "content": prompt})
        encoded = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])

    def most_tokens(self, prompts: Sequence[str]) -> int:
        """The most tokens that the prompts and their answers can have together."""
        return sum(len(self._encode_prompt(prompt)) + self.parameters.max_output_tokens for prompt in prompts)

    def answer(self, prompts: Sequence[str], seed: int) -> list[Reply]:
        """Answers of a batch; the same prompts with the same seed get the same ones on the same machine.

        Raises:
            UserError: if the model cannot read as many tokens.
        """
        import torch

        ids = [self._encode_prompt(prompt) for prompt in prompts]
        self._check_length(max(map(len, ids)))
        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self._model.device)
        sampling: dict[str, Any] = {"do_sample": False}
        if self.parameters.temperature > 0:
            # A model's own settings often cut the words to choose from (top_k); the recipe's alone should say how it writes.
            sampling = {"do_sample": True, "temperature": self.parameters.temperature, "top_p": self.parameters.top_p}
            sampling["top_k"] = 0
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
                f"model={self.name}: reads and writes {limit} tokens, and a prompt has {num_input} before an answer of "
                f"max_output_tokens={self.parameters.max_output_tokens}; show fewer examples (recipe.examples_per_request=), "
                "lower max_output_tokens=, or take another model"
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
    prompt: Callable[[Request], str],
    stop: StopRequest,
    caps: Caps,
) -> str | None:
    """Answers a plan in batches; why it ended early, if it did.

    A batch is always made of the same requests, whichever of them were answered before, so that a killed run that goes
    on writes what it would have written. An answer that is cut short or cannot be read is not tried again: the same
    prompt with the same seed gives the same.
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
                tokens_after = journal.ledger.spent.tokens + model.most_tokens([prompt(request) for request in todo])
                if cap := caps.find_reached(Spend(tokens_after)):
                    return cap
                replies = model.answer([prompt(request) for request in block], _derive_seed(block))
                for request, reply in zip(block, replies, strict=True):
                    if request in todo:
                        _record_reply(journal, request, reply, recipe)
            bar.update(len(block))
    return None


def _split_into_blocks(plan: Iterable[Request], size: int) -> Iterator[list[Request]]:
    requests = iter(plan)
    while block := list(itertools.islice(requests, size)):
        yield block


def _derive_seed(block: Sequence[Request]) -> int:
    return int.from_bytes(hashlib.sha256("".join(request.id for request in block).encode()).digest()[:7])


def _record_reply(journal: RequestJournal, request: Request, reply: Reply, recipe: Recipe) -> None:
    try:
        journal.append(answer_event(request.id, 1, reply, recipe.settings, FREE, Spend()))
    except RequestError as fault:
        journal.append(make_fault_event(request.id, 1, fault, FREE, Spend()))
        journal.append({"event": "gave_up", "id": request.id, "fault": fault.kind})
