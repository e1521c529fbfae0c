"""Log-likelihoods of a task's labels, all of them in one pass over a tree of their tokens."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from close_transfer.models.lm_wrappers import IGNORED, Conditioning, Context
from close_transfer.models.token_trees import build_token_tree, has_token_tree
from close_transfer.training.ragged import Ragged

# Ids of each label, end token included.
LabelIds = tuple[tuple[int, ...], ...]
# At once, 64 MiB of 32-bit numbers; larger parts are slower, because tokens are masked from each other.
_MOST_LOGITS = 2**24
_FEWEST_TOKENS = 32  # at once for each scene, for a vocabulary of any size; fewer share too little


def score_labels(
    lm: PreTrainedModel, conditioning: Conditioning, context: Context, labels: Sequence[LabelIds]
) -> Float[Tensor, "b n"]:
    """Return the log-likelihood of every label of every scene.

    Args:
        lm: language model, in evaluation mode.
        conditioning: interface of its family.
        context: contexts of the scenes.
        labels: ids of the labels of each scene, equally many for all. They may differ, because the first token depends
            on whether there is a prompt.
    """
    if not has_token_tree(lm):
        num_labels = len(labels[0])
        scores = score_rows(lm, conditioning, context.repeat(num_labels), [ids for scene in labels for ids in scene])
        return scores.view(len(labels), num_labels)
    rows_of: dict[LabelIds, list[int]] = defaultdict(list)
    for row, ids in enumerate(labels):
        rows_of[ids].append(row)
    scores = torch.empty(len(labels), len(labels[0]), device=context.states.device)
    for ids, row_list in rows_of.items():
        rows = torch.tensor(row_list, device=context.states.device)
        scores[rows] = _score_tree(lm, context if len(rows_of) == 1 else context.select(rows), ids)
    return scores


def score_many_labels(
    lm: PreTrainedModel, conditioning: Conditioning, context: Context, labels: Sequence[LabelIds]
) -> Float[Tensor, "b n"]:
    """Return what `score_labels` returns, computed for as many labels at once as memory allows."""
    embeddings: Any = lm.get_input_embeddings()
    num_tokens = max(_FEWEST_TOKENS, _MOST_LOGITS // (len(labels) * len(embeddings.weight)))
    scores = torch.empty(len(labels), len(labels[0]), device=context.states.device)
    for part in _split_labels(labels[0], num_tokens):
        ids = [tuple(scene[number] for number in part) for scene in labels]
        scores[:, part] = score_labels(lm, conditioning, context, ids)
    return scores


def _split_labels(labels: LabelIds, num_tokens: int) -> list[list[int]]:
    """Return the positions of labels in parts of at most `num_tokens` tokens, or of one label."""
    parts: list[list[int]] = []
    room = 0
    for number in sorted(range(len(labels)), key=labels.__getitem__):  # labels with the same beginning share a part
        if not parts or len(labels[number]) > room:
            parts.append([])
            room = num_tokens
        parts[-1].append(number)
        room -= len(labels[number])
    return parts


def _score_tree(lm: PreTrainedModel, context: Context, labels: LabelIds) -> Tensor:
    """Score labels that are the same for all scenes; tokens that begin several of them are computed once."""
    device, num_scenes = context.states.device, len(context.states)
    # The last token is not among them: nothing follows it.
    beginnings = sorted({ids[:end] for ids in labels for end in range(1, len(ids))}, key=len)
    number_of = {beginning: number for number, beginning in enumerate(beginnings)}
    tree = build_token_tree(lm, context, torch.tensor([len(each) - 1 for each in beginnings], device=device).long())
    logits = tree.read()[:, None]
    if beginnings:
        tokens = torch.tensor([beginning[-1] for beginning in beginnings], device=device)
        is_ancestor = np.eye(len(beginnings), dtype=bool)
        for number, beginning in enumerate(beginnings):
            if len(beginning) > 1:
                is_ancestor[number] |= is_ancestor[number_of[beginning[:-1]]]
        visible = torch.from_numpy(is_ancestor).to(device).expand(num_scenes, -1, -1)
        logits = torch.cat([logits, tree.extend(tokens.expand(num_scenes, -1), visible)], dim=1)
    likely = logits.float().log_softmax(dim=-1)
    scores = [
        sum(likely[:, number_of.get(ids[:end], -1) + 1, token] for end, token in enumerate(ids)) for ids in labels
    ]
    return torch.stack([torch.as_tensor(score) for score in scores], dim=1)


def score_rows(
    lm: PreTrainedModel, conditioning: Conditioning, context: Context, texts: Sequence[Sequence[int]]
) -> Float[Tensor, " b"]:
    """Return the log-likelihood of one text per scene.

    Args:
        lm, conditioning, context: as for `score_labels`.
        texts: ids of each scene's text, end token included.
    """
    rows = Ragged.from_rows(texts)
    ids = rows.pad(range(len(rows)), IGNORED).to(context.states.device)
    logits = conditioning.compute_logits(lm, context, ids)
    losses = F.cross_entropy(logits.float().transpose(1, 2), ids, ignore_index=IGNORED, reduction="none")
    return -losses.sum(dim=1)
