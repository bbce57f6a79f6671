"""Licenses that packages declare: which of them are SPDX license expressions that everybody reads alike."""

from __future__ import annotations

import re
from typing import Final

# Those that nearly all packages have, of the SPDX License List; others are passed on as what they are: text.
_LICENSES: Final = """
    0BSD AFL-2.1 AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0-Perl Artistic-2.0
    BlueOak-1.0.0 BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 BUSL-1.1
    bzip2-1.0.6 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 curl ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.2
    FTL GFDL-1.3-or-later GPL-1.0-only GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only
    GPL-3.0-or-later ICU ISC LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only
    LGPL-3.0-or-later Libpng MIT MIT-0 MPL-1.1 MPL-2.0 NCSA OFL-1.1 OpenSSL PHP-3.01 PostgreSQL PSF-2.0
    Python-2.0 Ruby SSPL-1.0 TCL Unicode-DFS-2016 Unlicense Vim W3C WTFPL X11 Zlib ZPL-2.1
"""
_EXCEPTION_NAMES: Final = """
    Autoconf-exception-3.0 Bison-exception-2.2 Classpath-exception-2.0 GCC-exception-3.1 LLVM-exception
    Linux-syscall-note OpenSSL-exception
"""
_KNOWN: Final = frozenset(_LICENSES.split())
_EXCEPTIONS: Final = frozenset(_EXCEPTION_NAMES.split())
_TOKEN: Final = re.compile(r"\(|\)|[A-Za-z0-9.+-]+")


def expression(text: str) -> str:
    """Return an SPDX license expression where a text is one of licenses that are known; "" for all else.

    The grammar is that of annex D of SPDX 2.3: licenses joined by AND and OR, WITH an exception, in brackets.
    """
    tokens = _TOKEN.findall(text)
    if not tokens or "".join(tokens) != "".join(text.split()):
        return ""
    place, whole = _alternatives(tokens, 0)
    return " ".join(tokens).replace("( ", "(").replace(" )", ")") if whole and place == len(tokens) else ""


def _alternatives(tokens: list[str], place: int) -> tuple[int, bool]:
    """Read licenses that AND and OR join; where that ends, and whether it was right."""
    place, right = _single(tokens, place)
    while right and place < len(tokens) and tokens[place] in ("AND", "OR"):
        place, right = _single(tokens, place + 1)
    return place, right


def _single(tokens: list[str], place: int) -> tuple[int, bool]:
    if place >= len(tokens) or place > 200:
        return place, False
    if tokens[place] == "(":
        place, right = _alternatives(tokens, place + 1)
        return place + 1, right and place < len(tokens) and tokens[place] == ")"
    if tokens[place].removesuffix("+") not in _KNOWN:
        return place, False
    if place + 2 < len(tokens) and tokens[place + 1] == "WITH":
        return place + 3, tokens[place + 2] in _EXCEPTIONS
    return place + 1, True
