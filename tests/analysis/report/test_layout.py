"""The page in a browser, at the widths of a telephone, a tablet, a laptop and a screen."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microtome.store.frames import tidy

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (400, 800, 1100, 1600)
SEVERAL = {"small": (3, 4), "base": (4, 12), "large": (4, 16), "a-model-with-a-long-name": (2, 4)}
ONE = {"only": (12, 12)}

# Opens the page in a frame of each width, and writes down what is cut, what overlaps and what is left empty.
LOOK = """
const slack = 1.5, page = PAGE, widths = WIDTHS, seen = {};
const inside = (a, b) => a.left >= b.left - slack && a.right <= b.right + slack
  && a.top >= b.top - slack && a.bottom <= b.bottom + slack;
const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack;
// The file behind a link, as the browser reads it: '' if it is a picture, else its name.
const broken = link => {
  const image = new Image();
  image.src = link.href;
  return image.decode().then(() => '', () => link.download);
};
async function look(frame, width) {
  const body = frame.contentDocument, root = body.documentElement;
  body.querySelectorAll('details').forEach(details => details.open = true);
  const cut = [], over = [], narrow = [], drawings = [...body.querySelectorAll('.drawing svg')]
    .filter(svg => svg.getBoundingClientRect().width > 0);
  for (const svg of drawings) {
    const box = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll('text')];
    const boxes = texts.map(text => text.getBoundingClientRect());
    const named = svg.closest('.drawing').getAttribute('aria-label');
    const room = svg.closest('.pictures').clientWidth;
    boxes.forEach((one, at) => {
      if (!inside(one, box)) cut.push(named + ': ' + texts[at].textContent);
      boxes.slice(at + 1).forEach((other, next) => {
        if (meet(one, other)) over.push(
          named + ': ' + texts[at].textContent + ' | ' + texts[at + 1 + next].textContent);
      });
    });
    const parts = [...svg.querySelectorAll('path, image, text')];
    const filled = Math.max(...parts.map(part => part.getBoundingClientRect().right)) - box.left;
    if (box.width < 0.98 * Math.min(room, 480) || filled < 0.9 * box.width) narrow.push(named);
  }
  const scale = svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  const sizes = drawings.flatMap(svg => [...svg.querySelectorAll('text')]
    .map(text => parseFloat(getComputedStyle(text).fontSize) * scale(svg)));
  const files = await Promise.all([...body.querySelectorAll('a.file')].map(broken));
  seen[width] = {cut, over, narrow, files: files.filter(Boolean), drawings: drawings.length,
    beyond: root.scrollWidth - root.clientWidth, smallest: Math.min(...sizes)};
  frame.remove();
}
widths.forEach(width => {
  const frame = document.createElement('iframe');
  frame.style.width = width + 'px'; frame.style.height = '900px'; frame.style.border = 0;
  frame.onload = async () => { await look(frame, width);
    if (Object.keys(seen).length === widths.length)
      document.body.innerHTML = '<pre id="seen"></pre>',
      document.getElementById('seen').textContent = JSON.stringify(seen); };
  frame.srcdoc = page;
  document.body.append(frame);
});
"""


def looked_at(page: str, folder: Path) -> dict[str, Any]:
    """What is to be said of the page at each width."""
    assert CHROMIUM is not None
    as_text = json.dumps(page).replace("</", "<\\/")
    script = LOOK.replace("WIDTHS", json.dumps(WIDTHS), 1).replace("PAGE", as_text, 1)
    (folder / "look.html").write_text(f"<!doctype html><meta charset=utf-8><body><script>{script}</script>")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    command = [CHROMIUM, *options, "--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, (folder / "look.html").as_uri()], capture_output=True, text=True, timeout=300
    )
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert seen is not None, done.stderr[-2000:]
    return json.loads(html.unescape(seen[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("shapes", "tasks"),
    [
        pytest.param(SEVERAL, {"entities": "ner"}, id="several"),
        pytest.param(ONE, {"entities": "ner"}, id="one", marks=pytest.mark.thorough),
    ],
)
def test_nothing_is_cut_or_overlaps_and_figures_fill_their_panel(
    shapes: dict[str, tuple[int, int]],
    tasks: dict[str, str],
    tmp_path: Path,
    written: Callable[..., str],
    make_rows: Callable[..., list[dict[str, Any]]],
) -> None:
    rows = make_rows(shapes=shapes, tasks=tasks, fractions=(0, 100), adapt=True)
    for width, seen in looked_at(written(tidy(rows), tmp_path), tmp_path).items():
        assert seen["drawings"] >= 4, width
        assert (seen["cut"], seen["over"], seen["narrow"]) == ([], [], []), width
        assert seen["files"] == [], width
        assert seen["beyond"] <= 0, width
        assert seen["smallest"] >= 7, width  # pixels
