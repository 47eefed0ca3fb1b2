"""`memrl demo`: the page in a real browser, on the embedded model; and the command around it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import memrl.serve.run
from memrl.cli.main import USAGE, main
from memrl.serve.connections import Server
from memrl.serve.demo import OWN_WORLD
from tests.browser import Watched, opened
from tests.support import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

TOLD = "Mara lives in Oslo. Greta works as a baker. Felix owns a parrot."
HOSTILE = [
    "<script>document.title='run'</script>",
    "<img src=x onerror=\"document.title='run'\">",
    "javascript:alert(1) [a](javascript:alert(1)) **bold** file:///etc/passwd",
    "\u202eright to left\u202c \u2066isolated \u05d0\u05d1\u05d2",
    "bell \x07 escape \x1b[31m delete \x7f",
    "\U0001f600 wide __proto__ constructor {{7*7}} ${7*7} &lt;b&gt;",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the command serves the page. It runs in a thread: torch is loaded once for all tests."""
    started: list[Server] = []

    class Noted(Server):
        async def startup(self, *arguments: Any, **options: Any) -> None:
            await super().startup(*arguments, **options)
            started.append(self)

    store = tmp_path_factory.mktemp("demo") / "memory.sqlite"
    words = ["demo", "--store", str(store), "--port", "0", "--no-browser", "--device", "cpu", "--budget", "100000"]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setenv("MEMRL_TOKEN", "not asked for here")
        patch.setattr(memrl.serve.run, "Server", Noted)
        ended = thread.submit(main, words)
        while not started:
            assert not ended.done(), ended.result()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{started[0].servers[0].sockets[0].getsockname()[1]}/"
        started[0].should_exit = True
        assert ended.result(timeout=30) == 0


@pytest.fixture
def empty(address: str) -> str:
    """The address of the page, whose memory is empty."""
    httpx2.delete(f"{address}v1/users/me").raise_for_status()
    return address


@pytest.fixture
def watched(browser: Browser, empty: str) -> Iterator[Watched]:
    found = Watched(browser, empty)
    yield found
    found.close()


def insert(address: str, *texts: str) -> None:
    operations = [
        {"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": text}} for text in texts
    ]
    reply = httpx2.post(f"{address}v1/users/me/memory/operations", json={"operations": operations})
    assert {one["code"] for one in reply.json()["results"]} == {"ok"}, reply.text


def say(page: Page, text: str) -> Locator:
    """Type a message and send it; return the reply, once it is whole."""
    page.locator(".examples button").first.wait_for()  # it knows whose memory it is
    entries = page.locator(".entry")
    before = entries.count()
    page.get_by_label("Say or ask").fill(text)
    page.keyboard.press("Enter")
    reply = entries.nth(before + 1)
    reply.locator(".who", has_text=re.compile("^(kept|answer)")).wait_for()
    return reply


def items(page: Page) -> Locator:
    return page.locator(".memory [data-item]")


def test_one_types_an_item_appears_is_corrected_used_and_undone(watched: Watched) -> None:
    page = watched.go("")
    page.get_by_text("Nothing is kept yet.").wait_for()
    reply = say(page, TOLD)
    item = items(page).first
    item.wait_for()
    assert reply.locator(".changes li").count() == items(page).count() == page.locator(".item.add").count()
    name = item.get_attribute("data-item")
    said = item.locator(".content").inner_text()
    assert said in TOLD

    item = page.locator(f"[data-item={name}]")
    page.get_by_label(f"correct {name}").click()
    page.get_by_label(f"new text of {name}").fill("Mara lives in Rome.")
    page.get_by_role("button", name="Save").click()
    page.locator(f"[data-item={name}].alter ins", has_text="Rome.").wait_for()
    page.get_by_label(f"history of {name}").click()
    changes = item.locator(".history > li")
    assert changes.count() == 2
    assert "by hand" in changes.first.inner_text() and "by the agent" in changes.last.inner_text()
    assert TOLD in changes.last.locator("blockquote").inner_text()

    reply = say(page, "Where does Mara live?")
    assert reply.locator(".answer").inner_text() == "Rome"
    assert reply.locator(".says .to-item").first.inner_text() == name
    assert "used: says the answer" in item.inner_text()
    reply.locator(".says .to-item").first.click()
    page.wait_for_function("name => document.activeElement.dataset.item === name", arg=name)

    page.get_by_label(f"undo the last change of {name}").click()
    page.wait_for_function(
        "([name, said]) => document.querySelector(`[data-item=${name}] .said`)?.innerText === said", arg=[name, said]
    )
    assert changes.count() == 3 and "undone" in changes.first.inner_text()
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_text("Nothing is kept yet.").wait_for()


def test_what_is_forgotten_is_put_back_and_older_texts_too(watched: Watched, empty: str) -> None:
    insert(empty, "Mara lives in Oslo.", "Greta works as a baker.")
    page = watched.go("")
    page.get_by_label("forget sem_0001").click()
    page.locator(".gone summary", has_text="Taken out (1)").click()
    assert items(page).count() == 1
    page.get_by_label("put sem_0001 back").click()
    page.locator("[data-item=sem_0003]", has_text="Mara lives in Oslo.").wait_for()
    page.get_by_label("correct sem_0002").click()
    page.get_by_label("new text of sem_0002").fill("Mara lives in Oslo.")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="duplicate").wait_for()
    page.get_by_label("new text of sem_0002").fill("Greta works as a nurse.")
    page.keyboard.press("Enter")
    page.get_by_label("history of sem_0002").click()
    page.get_by_role("button", name="Put back Greta works as a baker.").click()
    page.locator("[data-item=sem_0002] .history li").nth(2).wait_for()
    watched.faults = [fault for fault in watched.faults if "409" not in fault]  # the refused correction


def test_a_question_mark_asks_unless_one_has_chosen(watched: Watched) -> None:
    page = watched.go("")
    box, send = page.get_by_label("Say or ask"), page.locator(".writing .send")
    for text, mode, does in (
        ("Mara lives in Oslo.", None, "Read"), ("Where does Mara live?", None, "Ask"), ("Where? ", None, "Ask"),
        ("Where does Mara live?", "read", "Read"), ("Where does Mara live", "ask", "Ask"),
    ):  # fmt: skip
        if mode:
            page.get_by_label(mode, exact=True).check()
        box.fill(text)
        assert send.inner_text() == does
    send.click()
    page.locator(".entry .answer").wait_for()
    assert page.locator(".you .who").inner_text() == "you ask"


def test_the_keyboard_is_enough(watched: Watched, empty: str) -> None:
    insert(empty, "Mara lives in Oslo.")
    page = watched.go("")
    page.get_by_label("Say or ask").focus()
    page.keyboard.type("Greta works as a baker.")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Felix owns a parrot.")
    page.keyboard.press("Enter")
    page.locator(".you", has_text="baker.\nFelix").wait_for()
    page.locator(".agent .who", has_text="kept").wait_for()

    def focused(label: str) -> None:
        page.wait_for_function("label => document.activeElement.ariaLabel === label", arg=label)

    focused("Say or ask")
    page.get_by_label("correct sem_0001").focus()
    page.keyboard.press("Enter")
    focused("new text of sem_0001")
    page.keyboard.press("Escape")
    focused("correct sem_0001")
    page.keyboard.press("Enter")
    page.keyboard.type("Mara lives in Rome.")
    page.keyboard.press("Enter")
    page.locator("[data-item=sem_0001] ins", has_text="Rome.").wait_for()
    focused("correct sem_0001")
    page.get_by_label("forget sem_0001").focus()
    page.keyboard.press("Enter")
    page.locator("[data-item=sem_0001]").wait_for(state="detached")
    page.wait_for_function("() => document.activeElement.innerText === 'Memory'")


def test_examples_are_one_click_each_and_follow_each_other(watched: Watched) -> None:
    page = watched.go("")
    examples = page.locator(".examples button")
    examples.first.wait_for()
    assert [one.inner_text() for one in examples.all()] == list(OWN_WORLD[:3])
    assert "embedded model" in page.locator(".intro").inner_text()
    for place, text in enumerate(OWN_WORLD):
        examples.first.click()
        page.locator(".you").nth(place).wait_for()
        assert page.locator(".you .text").nth(place).inner_text() == text
        page.locator(".agent").nth(place).locator(".who", has_text=re.compile("^(kept|answer)")).wait_for()
        page.wait_for_timeout(100)
    assert [one.inner_text() for one in examples.all()] == list(OWN_WORLD[:3])
    assert items(page).count() > 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, empty: str, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make setup")
    insert(empty, "Mara lives in Oslo.", "Felix owns a parrot.", "Nora plays the violin.")
    watched = Watched(browser, empty, color_scheme=theme)
    page = watched.go("")
    page.locator("[data-item=sem_0003]").wait_for()

    def check(what: str) -> None:
        page.wait_for_timeout(600)  # colours fade
        found = axe.Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
        assert [
            (what, one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in found
        ] == []

    check("at first")
    page.get_by_label("forget sem_0003").click()
    page.locator(".gone summary").click()
    say(page, "Mara now lives in Rome. Walt yawned near the bridge. Hugo visited the castle.")
    page.get_by_label("history of sem_0001").click()
    page.get_by_label("correct sem_0002").click()
    page.get_by_label("new text of sem_0002").fill("Felix owns a goat.")
    page.keyboard.press("Enter")
    page.locator("[data-item=sem_0002] ins").wait_for()
    page.get_by_label("correct sem_0002").click()
    check("after changes")
    page.get_by_role("button", name="Cancel").click()
    say(page, "Which pet does Felix own?")
    check("after an answer")
    watched.close()


def test_on_a_phone_nothing_is_wider_than_it_and_buttons_can_be_hit(browser: Browser, empty: str) -> None:
    insert(empty, "Mara lives in Oslo.", "x" * 300)
    watched = Watched(browser, empty, viewport={"width": 360, "height": 740}, has_touch=True)
    page = watched.go("")
    say(page, TOLD)
    page.get_by_label("history of sem_0002").tap()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    low = """() => [...document.querySelectorAll('button, summary, label')]
        .filter(one => one.offsetHeight < 24).map(one => one.outerHTML)"""
    assert page.evaluate(low) == []
    watched.close()


def test_the_theme_is_the_systems_until_one_chooses(browser: Browser, empty: str) -> None:
    watched = Watched(browser, empty, color_scheme="dark")
    page = watched.go("")
    paper = "() => getComputedStyle(document.querySelector('.panel')).backgroundColor"
    assert page.evaluate(paper) == "rgb(25, 28, 31)"
    page.get_by_label("light theme").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.reload()
    page.locator(".panel").first.wait_for()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    watched.close()


def test_hostile_text_is_shown_and_never_run(browser: Browser, empty: str) -> None:
    insert(empty, *HOSTILE, "<b>" + "A" * 50_000)
    watched = Watched(browser, empty)
    page = watched.go("")
    items(page).nth(len(HOSTILE)).wait_for()
    for text in HOSTILE[:2]:
        say(page, text)
    page.get_by_label("history of sem_0001").click()
    page.get_by_label("forget sem_0002").click()
    page.locator(".gone summary").click()
    page.wait_for_timeout(300)
    seen = page.locator("main").inner_text()
    for text in (*HOSTILE[:3], HOSTILE[5]):
        assert text in seen
    assert "bell \u2407 escape \u241b[31m delete \u2421" in seen
    assert page.title().startswith("memrl demo")
    assert page.locator("main script, main img, main b, main iframe").count() == 0
    watched.close()


def test_it_says_that_the_server_has_gone(browser: Browser, empty: str) -> None:
    watched = Watched(browser, empty)
    page = watched.go("")
    page.locator(".examples button").first.wait_for()
    page.route("**/v1/**", lambda route: route.abort())
    page.get_by_label("Say or ask").fill(TOLD)
    page.keyboard.press("Enter")
    page.locator(".fault", has_text="The server does not answer").wait_for()
    page.unroute("**/v1/**")
    say(page, TOLD)
    watched.faults = [fault for fault in watched.faults if "ERR_FAILED" not in fault]
    watched.close()


def test_the_facts_are_those_of_the_agent(empty: str) -> None:
    facts = httpx2.get(f"{empty}demo").json()
    assert (facts["policy"], facts["embedded"], facts["user"]) == ("tiny", True, "me")
    assert (facts["tokens"], facts["budget"], facts["examples"]) == (0, 100_000, list(OWN_WORLD))
    insert(empty, "Mara lives in Oslo.")
    assert httpx2.get(f"{empty}demo").json()["tokens"] > 3


def test_the_page_has_a_policy_and_nothing_else_is_served(address: str) -> None:
    reply = httpx2.get(address)
    policy = reply.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert httpx2.get(f"{address}page.js").headers["content-type"].startswith("text/javascript")
    for path in ("memrl-page.json", "..%2fapp.py", "%2e%2e/app.py", "page.js/x"):
        assert httpx2.get(f"{address}{path}").status_code == 404, path
    assert httpx2.get(address, headers={"Host": "evil.example"}).status_code == 403
    assert httpx2.get(f"{address}demo", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a browser is opened by other means elsewhere")
def test_the_command_opens_the_browser_and_ctrl_c_ends_it_with_a_line(tmp_path: Path) -> None:
    seen, opener = tmp_path / "seen", tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    opener.chmod(0o755)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "DISPLAY": ":0", "BROWSER": f"{opener} %s", "TMPDIR": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-m", "memrl.cli", "demo", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line)
        assert found, line
        until = time.monotonic() + 30
        while not (seen.exists() and seen.read_text().strip()):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert seen.read_text().strip() == found[1]
        assert httpx2.get(found[1]).status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == "ended; the memory is gone (--store FILE keeps one)\n"
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("memrl-demo")] == []


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(*words: str) -> str:
        assert main(["demo", "--no-browser", *words]) == USAGE
        return " ".join(capsys.readouterr().err.split())

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in (said := complaint("--port", str(port))) and "Give another --port" in said
    missing = tmp_path / "nothing"
    assert f"{missing} is no exported policy" in complaint(str(missing), "--port", "0")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    assert "is a run. Take its policy out first: memrl export" in complaint(str(tmp_path / "run"))
    assert "--budget is 0; it must be at least 1" in complaint("--budget", "0")
    (tmp_path / "text").write_text("no memory")
    assert "is no memory file" in complaint("--port", "0", "--store", str(tmp_path / "text"))
