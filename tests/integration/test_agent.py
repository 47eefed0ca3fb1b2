"""MemoryAgent: an exported policy, used from a program, remembers across programs what it has read."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from memrl import MemoryAgent
from memrl.agent import turns
from memrl.agent.memory_file import MemoryFile
from memrl.envs.tools import ResultCode, ToolCall
from memrl.errors import Closed, ConfigError, DataError, Erased, MemrlError, StoreBusy, TooLong
from tests.disks import held_by_another

TEXTS = (
    "Nora lives in Oslo. Max yawned again.",
    "Carl owns a dog. The lamp creaked at noon.",
    "Nora works as a baker.",
)


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_it_reads_remembers_and_answers(exported_policy: Path, tmp_path: Path, form: str) -> None:
    with MemoryAgent.open(exported_policy / form, store=tmp_path / "m.sqlite", device="cpu") as agent:
        results = [result for day, text in enumerate(TEXTS, 1) for result in agent.read(text, time=f"May {day}")]
        held = agent.memory
        assert any(result.ok for result in results) and held
        assert {change.why for change in agent.history()} <= set(TEXTS)
        answer = agent.ask("Where does Nora live?")
        assert answer.prompt_tokens > 0 and set(answer.retrieved) <= {item.id for item in held}
    with MemoryAgent.open(exported_policy / form, store=tmp_path / "m.sqlite", device="cpu") as again:
        assert again.memory == held
        assert again.ask("Where does Nora live?") == answer
        again.save(tmp_path / "copy.sqlite")
        count = len(held)
        assert again.undo() and len(again.memory) < count
    with MemoryAgent.open(exported_policy / form, store=tmp_path / "copy.sqlite", device="cpu") as copy:
        assert copy.memory == held


def test_the_twins_do_the_same_and_texts_wait_for_each_other(exported_policy: Path, tmp_path: Path) -> None:
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "plain.sqlite", device="cpu") as plain:
        expected = [plain.read(text) for text in TEXTS]
        held, answer = plain.memory, plain.ask("Where does Nora live?")

    async def use(agent: MemoryAgent) -> None:
        assert list(await asyncio.gather(*(agent.aread(text) for text in TEXTS))) == expected
        assert await agent.aask("Where does Nora live?") == answer

    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "twin.sqlite", device="cpu") as twin:
        asyncio.run(use(twin))
        assert twin.memory == held


def test_users_of_one_file_do_not_meet(exported_policy: Path, tmp_path: Path) -> None:
    with (
        MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", user="ann", device="cpu") as ann,
        MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", user="bob", device="cpu") as bob,
    ):
        for text in TEXTS:
            ann.read(text)
        assert ann.memory and not bob.memory
        assert bob.ask("Where does Nora live?").retrieved == ()


def test_the_model_is_shared_and_the_memories_are_not(exported_policy: Path, tmp_path: Path) -> None:
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", user="ann", device="cpu") as ann:
        with ann.for_user("bob") as bob:
            for text in TEXTS:
                ann.read(text)
            assert ann.memory and not bob.memory
        assert ann.ask("Where does Nora live?").prompt_tokens, "closing one leaves the model to the others"


def test_operations_and_search_need_no_model(exported_policy: Path, tmp_path: Path) -> None:
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", device="cpu") as agent:
        insert = ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "Nora lives in Bern."})
        gone = ToolCall(name="memory_delete", arguments={"memory_id": "sem_0009"})
        assert [result.code for result in agent.execute([insert, gone], by="a person", why="a test")] == [
            ResultCode.OK,
            ResultCode.UNKNOWN_ID,
        ]
        assert [item.content for item in agent.search("Where does Nora live?").items] == ["Nora lives in Bern."]
        assert [(change.by, change.why) for change in agent.history()] == [("a person", "a test")]


def test_a_long_text_is_read_in_pieces_of_whole_sentences(exported_policy: Path, tmp_path: Path) -> None:
    names = ("Nora", "Karl", "Mara", "Vito")
    facts = [f"{name} {what}." for what in ("lives in Bern", "has a dog", "works as a baker") for name in names]
    lines = [f"{fact} It rained {day} days." for day, fact in enumerate(facts)]
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", device="cpu", budget=500) as agent:
        agent.read("\n".join([*lines[:6], " ".join(lines[6:])]), time="May 1")
        pieces = list(dict.fromkeys(change.why for change in agent.history()))
        assert len(pieces) > 2
        places = [number for piece in pieces for number, fact in enumerate(facts) if fact in piece]
        assert places == sorted(set(places)), "in order, and nothing twice"


def test_a_sentence_that_is_too_long_is_refused_and_changes_nothing(exported_policy: Path, tmp_path: Path) -> None:
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", device="cpu") as agent:
        with pytest.raises(ConfigError, match="Break it up"):
            agent.read("Nora lives in Bern. " + "Nora lives in Bern and " * 200)
        with pytest.raises(DataError, match="the question is empty"):
            agent.ask(" ")
        with pytest.raises(DataError, match="the text is empty"):
            agent.read(" \n ")
        assert agent.memory == () and agent.history() == []


def test_a_folder_that_is_no_exported_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no exported policy: memory_agent\.json cannot be read"):
        MemoryAgent.open(tmp_path, store=tmp_path / "m.sqlite")
    assert not (tmp_path / "m.sqlite").exists()


def test_the_package_is_imported_without_torch() -> None:
    code = "import memrl, sys, json; print(json.dumps(['torch' in sys.modules, 'MemoryAgent' in memrl.__all__]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, True]


# Attacks -----------------------------------------------------------------------------------------------------------


def test_the_library_cleans_texts_and_names_errors_as_the_server_does(exported_policy: Path, tmp_path: Path) -> None:
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", device="cpu") as agent:
        assert isinstance(agent.read("Nora lives in Bern. \ud83d It rained.", time="May \ud83d"), list)
        assert agent.ask("Where does \ud83d Nora live?").prompt_tokens
        agent.search("\ud83d")
        assert agent.count_tokens("\ud83d") == agent.count_tokens("?")
        insert = ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "cut \ud83d off"})
        assert agent.execute([insert], by="\ud83d", why="\ud83d", time="\ud83d")[0].content == "cut ? off"
        held, history = agent.memory, agent.history()
        with pytest.raises(TooLong, match="the time has 900000 characters"):
            agent.read("Nora lives in Bern.", time="May " * 225_000)
        with pytest.raises(TooLong, match="leaves no room"):
            agent.read("Nora lives in Bern.", time="né " * 85)
        with pytest.raises(TooLong, match="why"):
            agent.execute([insert], why="x" * 100_000)
        for question in ("", " \n", "\x1c"):
            with pytest.raises(DataError, match="the question is empty"):
                agent.ask(question)
        assert (agent.memory, agent.history()) == (held, history)


def test_an_agent_that_is_closed_says_so_and_a_read_that_is_ended_too(exported_policy: Path, tmp_path: Path) -> None:
    agent = MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", device="cpu")
    bob = agent.for_user("bob")
    text = "\n".join(f"{TEXTS[number % 3]} It rained {number} days." for number in range(2000))
    ended: list[BaseException] = []

    def read(reader: MemoryAgent) -> None:
        try:
            reader.read(text)
        except MemrlError as error:
            ended.append(error)

    def read_awaited(reader: MemoryAgent) -> None:
        try:
            asyncio.run(reader.aread(text))
        except MemrlError as error:
            ended.append(error)

    readers = [threading.Thread(target=read, args=(agent,)), threading.Thread(target=read_awaited, args=(bob,))]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + 120
    while not (agent.history(limit=1) and bob.history(limit=1)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    agent.close()
    agent.close()
    for reader in readers:
        reader.join()
    assert [type(error) for error in ended] == [Closed, Closed]
    for use in (lambda: agent.read("x"), lambda: agent.ask("x"), lambda: agent.memory, lambda: bob.ask("x")):
        with pytest.raises(Closed):
            use()
    with pytest.raises(Closed):
        asyncio.run(bob.aask("x"))
    bob.close()
    again = MemoryFile(tmp_path / "m.sqlite")
    assert again.items and again.history(), "the pieces before are read"


def test_whoever_is_erased_while_a_text_is_read_is_not_remembered(exported_policy: Path, tmp_path: Path) -> None:
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", user="ann", device="cpu") as agent:
        text = "\n".join(f"{TEXTS[number % 3]} It rained {number} days." for number in range(2000))
        ended: list[BaseException] = []

        def read() -> None:
            try:
                agent.read(text)
            except Erased as error:
                ended.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        deadline = time.monotonic() + 120
        while not agent.history(limit=1):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert agent.erase_user("ann")
        reader.join()
        assert len(ended) == 1 and agent.memory == () and agent.history() == []
        insert = ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "Nora lives in Bern."})
        (result,) = agent.execute([insert], why="Nora said so.")
        assert agent.erase(str(result.item_id)) == 2 and agent.memory == ()
    assert b"Nora" not in (tmp_path / "m.sqlite").read_bytes()


def test_a_lock_of_another_process_holds_up_no_question_of_anybody(
    exported_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 0.5)
    store = tmp_path / "m.sqlite"
    with MemoryAgent.open(exported_policy / "adapter", store=store, user="ann", device="cpu") as ann:
        ann.read(TEXTS[0])
        with ann.for_user("bob") as bob, held_by_another(store):
            for agent in (ann, bob):  # each of these ends while the file is held
                assert agent.ask("Where does Nora live?").prompt_tokens
                agent.search("Nora")
                with pytest.raises(StoreBusy):
                    agent.read(TEXTS[1])
        assert ann.read(TEXTS[1])


def test_an_export_is_for_others_to_read(exported_policy: Path) -> None:
    folders = (exported_policy / "adapter", exported_policy / "merged")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {"adapter_model.safetensors", "model.safetensors"} <= {path.name for path in files}
    umask = os.umask(0o022)
    os.umask(umask)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}
