"""Command that writes docs/settings.md: ``python -m docs.build_settings``."""

from docs.build_settings.page import PAGE, build_page

PAGE.write_text(build_page(), encoding="utf-8")
