"""How soon the page of a large report shows something, and how much memory it takes, in Chromium.

    python benchmarks/report_page.py [--steps 200] [--episodes 64] [--chunks 24] [--questions 100] [--shown 4000]
                                     [--run DIR] [--browser chromium]

The run is made up as in benchmarks/report.py (`--run` keeps it for another time). The page is opened from the disk,
with nothing cached, eight times; then one walks through it: overview, streams, group, twenty episodes, why wrong,
compare, and a search over all evaluations. Memory is what the renderer holds, private and shared in proportion (PSS of
/proc/PID/smaps_rollup), and the script heap after collection. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import make_run
from memrl.look.report import EPISODES_AT_MOST, write_report

VIEWS = 8
FIRST = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
WATCH = """
new MutationObserver((_, watch) => {
  if (!document.querySelector('.evaluations tbody tr')) return;
  watch.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.viewed = performance.now(); }));
}).observe(document, {childList: true, subtree: true});
"""
"""Notes when the frame with the evaluations has been drawn, in milliseconds since the page was opened."""


def renderer_mib() -> float:
    """Return the proportional memory of the largest renderer that this process has started."""
    sizes = [0.0]
    mine = _children()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) not in mine:
            continue
        try:
            if b"--type=renderer" not in (folder / "cmdline").read_bytes():
                continue
            for line in (folder / "smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    sizes.append(int(line.split()[1]) / 1024)
        except OSError:
            continue
    return round(max(sizes), 1)


def _children() -> set[int]:
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}


def measure(index: Path, browser_path: str, step: int) -> dict[str, Any]:
    """Return the times and sizes of a walk through a report."""
    from playwright.sync_api import sync_playwright

    found: dict[str, Any] = {}
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
        )
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.goto("about:blank")
        found["browser"] = browser.version
        found["empty_page_mib"] = renderer_mib()
        views: list[float] = []  # until the evaluations are there, as who drives the browser sees it
        drawn: list[int] = []  # until they are drawn, by the page's own clock
        paints: list[int] = []
        busy: list[float] = []  # what the page itself has computed until then
        for _ in range(VIEWS):
            fresh = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
            fresh.add_init_script(WATCH)
            watching = fresh.context.new_cdp_session(fresh)
            watching.send("Performance.enable")
            began = time.monotonic()
            fresh.goto(index.resolve().as_uri())
            fresh.locator(".evaluations tbody tr").first.wait_for()
            views.append(round(time.monotonic() - began, 3))
            fresh.wait_for_function("() => window.viewed")
            drawn.append(round(fresh.evaluate("() => window.viewed")))
            paints.append(round(fresh.evaluate(FIRST)))
            told = {one["name"]: one["value"] for one in watching.send("Performance.getMetrics")["metrics"]}
            busy.append(round(told["TaskDuration"], 3))
            fresh.context.close()
        found |= {"first_view_seconds": views, "first_view_drawn_ms": drawn}
        found |= {"first_paint_ms": paints, "first_view_busy_seconds": busy}
        page.goto(index.resolve().as_uri())
        page.locator(".evaluations tbody tr").first.wait_for()
        page.wait_for_timeout(500)
        found["first_view_mib"] = renderer_mib()
        session = page.context.new_cdp_session(page)
        most = 0.0

        def go(place: str, ready: str) -> float:
            nonlocal most
            began = time.monotonic()
            page.evaluate("place => { location.hash = place }", place)
            page.locator(ready).first.wait_for()
            seconds = time.monotonic() - began
            most = max(most, renderer_mib())
            return round(seconds, 3)

        group = f"run/held-out/{step:05d}"
        found["streams_seconds"] = go(f"#/groups/run/held-out/{step}", ".group-line")
        found["group_seconds"] = go(f"#/group/{group}/0000", ".by-question a")
        page.locator(".to-episode").first.click()
        episodes = [go(f"#/episode/{group}/{number:04d}-0?q=q{number}", "#answer") for number in range(20)]
        found["episode_seconds_most"] = max(episodes)
        found["wrong_seconds"] = go(f"#/wrong/run/held-out/{step}", ".wrong-line")
        found["compare_seconds"] = go("#/compare/run", ".compare")
        found["search_seconds"] = go(
            f"#/search/run/held-out/{step}?text=no such text&in=held-out", ".nothing >> text=Nothing has"
        )
        found["walk_most_mib"] = most
        session.send("HeapProfiler.collectGarbage")
        heap = session.send("Runtime.getHeapUsage")
        found["heap_mib"] = round(heap["usedSize"] / 2**20, 1)
        page.wait_for_timeout(500)
        found["at_the_end_mib"] = renderer_mib()
        browser.close()
    return found


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, default in (("steps", 200), ("episodes", 64), ("chunks", 24), ("questions", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--shown", type=int, default=EPISODES_AT_MOST, help="as memrl report --episodes")
    parser.add_argument(
        "--run", type=Path, help="a folder to keep the run and its report in, made where it is not there"
    )
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    if arguments.browser is None:
        sys.exit("There is no Chromium: apt-get install chromium, or give --browser.")
    sizes = {name: getattr(arguments, name) for name in ("steps", "episodes", "chunks", "questions")}
    with tempfile.TemporaryDirectory() as temporary:
        run = (arguments.run or Path(temporary)) / "run"
        if not run.exists():
            make_run(run, **sizes)
        index = write_report([run], episodes=arguments.shown)
        last = sizes["steps"] // 10 * 10
        found = {**sizes, "shown": arguments.shown, **measure(index, arguments.browser, last)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
