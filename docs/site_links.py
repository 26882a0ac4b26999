"""For `mkdocs`: links from a page to files beside docs/ lead nowhere on the site, so they are checked and become plain code."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

_OUTWARD = re.compile(r"\[([^\[\]]+)\]\((\.\./[^)\s]+)\)")
_log = logging.getLogger("mkdocs.plugins.site_links")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The page without links that leave the site; one that leads to no file is a warning, which `--strict` makes an error."""

    def flatten(link: re.Match[str]) -> str:
        label, target = link[1], link[2].partition("#")[0]
        if not (Path(config.docs_dir) / target).exists():
            _log.warning("%s: the link to %s leads nowhere", page.file.src_path, target)
        return f"{label} (`{target.removeprefix('../')}`)" if "`" not in label else label

    return _OUTWARD.sub(flatten, markdown)
