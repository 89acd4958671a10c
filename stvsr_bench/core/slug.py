"""Names as file names: reversible, readable for the usual ids, safe for any other text."""

from __future__ import annotations

from urllib.parse import quote, unquote

SAFE = "._-+[]=@,"


def slug(text: str) -> str:
    """Return ``text`` as a file name: ASCII letters, digits and ``._-+[]=@,`` stay, other bytes become ``%XX``.

    A leading dot is quoted too, so that no name is hidden or leaves its folder.

    >>> slug("bicubic+dis_flow"), slug("walk (1)"), slug("../x")
    ('bicubic+dis_flow', 'walk%20%281%29', '%2E.%2Fx')
    """
    quoted = quote(text, safe=SAFE).replace("~", "%7E")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def unslug(name: str) -> str:
    """Return the text that :func:`slug` made ``name`` from."""
    return unquote(name)
