"""Headless Chromium for tests: opens a page and returns what a probe, a piece of JavaScript, finds in it."""

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

from firmware_tools import require

FLAGS = (
    *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"],
    *["--disable-background-networking", "--disable-component-update", "--disable-sync"],
)


def probed(page: Path, probe: str, folder: Path, width: int = 1000, height: int = 900) -> Any:
    """Open a page in a window of the given size and return what the probe's expression gives, by way of JSON.

    The page itself is left alone: the probe runs in a copy. Without Chromium the test skips.
    """
    chromium = require("chromium")
    script = (
        "<script>addEventListener('load', () => { const found = JSON.stringify(" + probe + ");"
        "const box = document.createElement('pre'); box.id = 'found'; box.textContent = found;"
        "document.body.append(box); })</script>"
    )
    copy = folder / f"probed-{width}.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", script + "</body>"), encoding="utf-8")
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'browser'}", f"--window-size={width},{height}"]
    done = subprocess.run(
        [*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(unescape(found[1]))
