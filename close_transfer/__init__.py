"""Text-only cross-modal transfer: train on text, use on images (CLOSE, arXiv 2211.09778)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from close_transfer.inference.transfer_model import TransferModel

__all__ = ["TransferModel"]


def __getattr__(name: str) -> Any:
    """Load `TransferModel` when it is first used, so that `import close_transfer` loads no ML library."""
    if name == "TransferModel":
        from close_transfer.inference.transfer_model import TransferModel

        return TransferModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
