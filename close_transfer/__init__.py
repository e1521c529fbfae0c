"""Train on words, test on images."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from close_transfer.inference.transfer_model import TransferModel

__all__ = ["TransferModel"]


def __getattr__(name: str) -> Any:
    """Loads what users import when they do, as most commands need less."""
    if name == "TransferModel":
        from close_transfer.inference.transfer_model import TransferModel

        return TransferModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
