"""list_encoders.py: list the encoders that can be chosen by name."""

from close_transfer.config.list_encoders import ListEncodersConfig
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.encoders.catalogue import format_catalogue


def main(config: ListEncodersConfig) -> None:
    """Print the catalogue.

    Raises:
        UserError: if no architecture has this text in its name.
    """
    listing = format_catalogue(config.name or "")
    if listing is None:
        raise UserError(
            f"name={config.name}: no architecture of open_clip or timm has this in its name. Give a shorter one"
        )
    show(listing)
