"""Beam search and greedy decoding with the rules of transformers' `generate`, over trees of tokens.

It writes the same texts with the same scores, and computes less: the context of a scene is computed once for all of its
beams, beams that change their parents copy no keys and values, and a scene whose best texts are certain leaves the batch.

Shapes: b scenes, k beams, c candidates, t tokens of the longest text, v vocabulary.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from close_transfer.models.lm_wrappers import Context
from close_transfer.models.token_trees import build_token_tree

_NEVER = -1e9  # log-probability that nothing reaches, as in transformers
_GROUP = 64  # tokens whose highest score is found at once, about the square root of a vocabulary
# Scenes leave the batch when an eighth of it is done: to copy the others costs less than a step of that eighth.
_SHARE_DONE = 8


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the search: beams, candidates to return, most tokens of a text, and the tokens that end and pad it."""

    num_beams: int
    num_return: int
    max_tokens: int
    end: int
    padding: int

    @property
    def num_candidates(self) -> int:
        """Return the number of candidates per step: enough for all beams to continue although as many texts end."""
        return 2 * self.num_beams if self.num_beams > 1 else 1


@dataclass
class _Beams:
    """Beams of the scenes in the batch.

    Attributes:
        texts, scores: tokens and log-probability of each beam.
        visible: tokens that each beam descends from, in the order of the tree's slots, which has `k` per step.
        best_texts, best_scores: best texts that have ended, and their log-probabilities per token.
        is_open: True for a scene whose best texts may still change.
    """

    texts: Int[Tensor, "b k t"]
    scores: Float[Tensor, "b k"]
    visible: Bool[Tensor, "b k s"]
    best_texts: Int[Tensor, "b k t"]
    best_scores: Float[Tensor, "b k"]
    is_open: Bool[Tensor, " b"]

    @classmethod
    def build(cls, num_scenes: int, settings: SearchSettings, device: torch.device) -> "_Beams":
        shape = (num_scenes, settings.num_beams)
        texts = torch.full((*shape, settings.max_tokens), settings.padding, device=device)
        visible = torch.zeros(*shape, settings.num_beams * settings.max_tokens, dtype=torch.bool, device=device)
        is_open = torch.ones(num_scenes, dtype=torch.bool, device=device)
        never = torch.full(shape, _NEVER, device=device)
        return cls(texts, torch.zeros(num_scenes, 1, device=device), visible, texts, never, is_open)

    def select(self, rows: Tensor) -> None:
        for name, tensor in vars(self).items():
            setattr(self, name, tensor[rows])

    def advance(self, logits: Tensor, length: int, settings: SearchSettings) -> Tensor:
        """Choose the beams that have `length` tokens; return the last tokens, shape (b, k).

        Args:
            logits: logits of the token after each beam, shape (b, k, v); k is 1 for the first token.
            length: number of tokens, this one included.
        """
        num_beams = settings.num_beams
        scores, parents, ids = find_candidates(logits, self.scores, settings.num_candidates)
        texts = _gather(self.texts, parents)
        texts[:, :, length - 1] = ids
        has_ended = ids == settings.end
        self._keep_best(scores / length, texts, has_ended if length < settings.max_tokens else has_ended | True)
        self.scores, order = scores.masked_fill(has_ended, _NEVER).topk(num_beams)
        self.texts = _gather(texts, order)
        used, parents = num_beams * (length - 1), parents.gather(1, order)
        self.visible[:, :, :used] = _gather(self.visible[:, :, :used], parents)
        self.visible[:, :, used : used + num_beams] = torch.eye(num_beams, dtype=torch.bool, device=ids.device)
        # A text becomes less likely with every token, so this is the highest score that a longer one is expected to get.
        self.is_open &= self.scores[:, 0] / length > self.best_scores.amin(dim=1)
        return ids.gather(1, order)

    def _keep_best(self, scores: Tensor, texts: Tensor, has_ended: Tensor) -> None:
        """Add texts that have ended to the best ones; only the likeliest `k` candidates count."""
        num_beams = self.best_scores.shape[1]
        counts = has_ended & self.is_open[:, None]
        counts[:, num_beams:] = False
        merged = torch.cat([self.best_scores, scores.masked_fill(~counts, _NEVER)], dim=1)
        self.best_scores, order = merged.topk(num_beams)
        self.best_texts = _gather(torch.cat([self.best_texts, texts], dim=1), order)


def _gather(values: Tensor, indices: Tensor) -> Tensor:
    """Select along the second dimension, in each row for itself; shapes (b, k, x), (b, c) -> (b, c, x)."""
    return values.gather(1, indices[..., None].expand(-1, -1, values.shape[2]))


def find_candidates(
    logits: Float[Tensor, "b k v"], scores: Float[Tensor, "b k"], number: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Return scores, beams and token ids of the likeliest continuations of all beams of a scene, likeliest first.

    Args:
        logits: logits of the next token of each beam.
        scores: log-probabilities of the beams.
        number: number of candidates.
    """
    num_scenes, num_beams, vocabulary = logits.shape
    likely = logits.float().log_softmax(dim=-1)
    if number == 1:  # the first of equal ones, as greedy decoding in transformers
        # By the logits, because some that differ are rounded to equal log-probabilities.
        ids = logits.argmax(dim=-1)
        return likely.gather(2, ids[..., None])[..., 0] + scores, torch.zeros_like(ids), ids
    # The candidates are in the groups with the highest tokens. To find these groups first is several times faster than
    # to sort the vocabulary.
    num_groups = vocabulary // _GROUP
    likely = likely + scores[..., None]
    if num_beams * num_groups <= number:
        best, found = likely.flatten(1).topk(min(number, num_beams * vocabulary))
        return best, found // vocabulary, found % vocabulary
    # A group holds every `num_groups`-th token, because highest values across rows are found faster than along them.
    grouped = likely[..., : num_groups * _GROUP].unflatten(-1, (_GROUP, num_groups))
    groups = grouped.amax(dim=2).flatten(1).topk(number).indices
    beams, columns = groups // num_groups, groups % num_groups
    steps = torch.arange(_GROUP, device=logits.device) * num_groups
    places = (beams * vocabulary + columns)[..., None] + steps
    rest = torch.arange(num_groups * _GROUP, vocabulary, device=logits.device)
    rest = rest + vocabulary * torch.arange(num_beams, device=logits.device)[:, None]
    places = torch.cat([places.flatten(1), rest.flatten().expand(num_scenes, -1)], dim=1)
    best, order = likely.flatten(1).gather(1, places).topk(number)
    found = places.gather(1, order)
    return best, found // vocabulary, found % vocabulary


def search_beams(lm: PreTrainedModel, context: Context, settings: SearchSettings) -> tuple[Tensor, Tensor]:
    """Return the best texts of each scene, shape (b, num_return, t), and their log-probabilities per token.

    Args:
        lm: language model for which `has_token_tree` is True, in evaluation mode.
        context: contexts of the scenes.
        settings: see `SearchSettings`; one beam is greedy decoding.
    """
    device, num_scenes = context.states.device, len(context.states)
    depths = torch.arange(settings.max_tokens, device=device).repeat_interleave(settings.num_beams)
    tree = build_token_tree(lm, context, depths)
    beams = _Beams.build(num_scenes, settings, device)
    texts, scores = beams.best_texts[:, : settings.num_return].clone(), beams.best_scores[:, : settings.num_return]
    scores, remaining = scores.clone(), torch.arange(num_scenes, device=device)
    logits = tree.read()[:, None]
    if logits.shape[2] < settings.num_candidates:  # as in transformers, all beams begin, and only the first one counts
        logits = logits.expand(-1, settings.num_beams, -1)
        beams.scores = F.pad(beams.scores, (0, settings.num_beams - 1), value=_NEVER)
    for length in range(1, settings.max_tokens + 1):
        ids = beams.advance(logits, length, settings)
        num_open = int(beams.is_open.sum())
        if num_open == 0 or length == settings.max_tokens:
            break
        if (len(ids) - num_open) * _SHARE_DONE >= len(ids):
            _write_out(beams, remaining, texts, scores)
            rows = beams.is_open.nonzero()[:, 0]
            ids, remaining = ids[rows], remaining[rows]
            beams.select(rows)
            tree.select(rows)
        logits = tree.extend(ids, beams.visible[:, :, : length * settings.num_beams])
    _write_out(beams, remaining, texts, scores)
    return texts, scores


def _write_out(beams: _Beams, remaining: Tensor, texts: Tensor, scores: Tensor) -> None:
    num_return = texts.shape[1]
    texts[remaining] = beams.best_texts[:, :num_return]
    scores[remaining] = beams.best_scores[:, :num_return]
