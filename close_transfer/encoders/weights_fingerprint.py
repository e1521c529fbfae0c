"""A fingerprint of a model's weights, so that two models can be told apart whatever they are called."""

import hashlib

import torch


def fingerprint_weights(model: torch.nn.Module) -> str:
    """SHA-256 over all parameters and buffers, by name; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
