"""Fonts: the one family of the report, from a package and never from the machine.

What lives here: where the font files are, and a private fontconfig that knows nothing else. What does not: styles.
"""

import os
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

FAMILY = "Source Sans 3"
FILES = {"normal": "SourceSans3[wght].ttf", "italic": "SourceSans3-Italic[wght].ttf"}

_CONFIG = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}</dir>
  <cachedir>{cache}</cachedir>
  <match target="pattern"><edit name="family" mode="assign" binding="same"><string>{family}</string></edit></match>
</fontconfig>
"""


def folder() -> Path:
    """Return the folder of the font files inside their package."""
    return Path(str(resources.files("fontpkg_source_sans_3").joinpath("files")))


@cache
def use_private_fontconfig() -> Path:
    """Point fontconfig at our fonts only; call before WeasyPrint is imported.

    Returns
    -------
    Path
        The configuration file, in a folder that lives as long as the process.

    Notes
    -----
    On a machine without fonts Pango ends in a segmentation fault; on one with others, missing glyphs would come from
    whatever is there and the bytes would differ.
    """
    place = Path(tempfile.mkdtemp(prefix="plimsoll-fonts-"))
    file = place / "fonts.conf"
    file.write_text(_CONFIG.format(folder=folder(), cache=place / "cache", family=FAMILY), encoding="utf-8")
    os.environ["FONTCONFIG_FILE"] = str(file)
    return file
