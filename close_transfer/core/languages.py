"""Language codes: one code per language, from the spellings that people use."""

from collections.abc import Collection
from functools import cache
from typing import Annotated

import langcodes
from pydantic import AfterValidator

from close_transfer.core.errors import UserError

# Country codes that are often written for a language. "kr" is Kanuri in ISO 639-1, which `kau` still names.
_ALIASES = {"cn": "zh", "jp": "ja", "kr": "ko", "cz": "cs", "dk": "da", "gr": "el", "ua": "uk", "vn": "vi"}
# Varieties of Chinese with a code, which are written in its characters.
_CHINESE = frozenset({"cmn", "yue", "wuu", "nan", "hak", "gan", "hsn", "cdo", "cjy", "lzh"})
# Valid codes that name no language: undetermined, several, uncoded, no linguistic content.
_NO_LANGUAGE = frozenset({"und", "mul", "mis", "zxx"})


@cache
def _find_language(code: str) -> langcodes.Language | None:
    first = code.strip().replace("_", "-").partition("-")
    alias = _ALIASES.get(first[0].lower(), first[0])
    try:
        language = langcodes.Language.get(alias + "".join(first[1:]))
    except langcodes.LanguageTagError:
        return None
    if not language.is_valid() or language.language is None or language.language in _NO_LANGUAGE:
        return None
    return language


def standardize_language(code: str) -> str:
    """Return the shortest ISO 639 code of the language that a code names, without its script and country.

    Codes of ISO 639-1, -2 and -3 are known (de, ger, deu), tags with script or country (zh-CN, pt_BR, zh_Hans), and
    country codes that are often written for a language (cn, jp).

    Raises:
        ValueError: if the code names no language.
    """
    language = _find_language(code)
    if language is None:
        raise ValueError(
            "is not the code of a language. Give one of ISO 639, such as en, de, zh or por; a country may follow, as in pt-BR"
        )
    return str(language.language)


def find_written_language(code: str, setting: str) -> str:
    """Return the code of the language whose writing decides how texts are split: Mandarin and Cantonese are "zh".

    Raises:
        UserError: if the code names no language.
    """
    try:
        standard = standardize_language(code)
    except ValueError as error:
        raise UserError(f"{setting}={code}: {error}") from None
    return "zh" if standard in _CHINESE else standard


def match_language(code: str, known: Collection[str]) -> str | None:
    """Return the one of the known codes that names the same language; None if there is none."""
    if code in known:
        return code
    wanted = _find_language(code)
    if wanted is None:
        return None
    languages = {other: _find_language(other) for other in known}
    return next((other for other, match in languages.items() if match and match.language == wanted.language), None)


LanguageCode = Annotated[str, AfterValidator(standardize_language)]
"""Type of a setting that holds a language; its value becomes the standard code."""
