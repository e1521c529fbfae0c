"""Fingerprint of a model's weights, which identifies a model independently of its name."""

import hashlib

import torch


def fingerprint_weights(model: torch.nn.Module) -> str:
    """Compute the SHA-256 hash of all parameters and buffers, ordered by name; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
