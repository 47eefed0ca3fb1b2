"""MemoryAgent: a trained policy in somebody's own program. It reads, remembers, and answers from what it remembers.

    from memrl import MemoryAgent

    with MemoryAgent.open("exported/tiny", store="memory.sqlite", user="ann") as agent:
        agent.read("I have moved to Lisbon.", time="2 May")
        print(agent.ask("Where do I live?").text)

The memory is a `MemoryFile`: it outlives the program, several processes may share it, and users never see each other's.
Invariant: the model is asked in one event loop alone, and the file never used in it: whoever waits for a file that
another process holds keeps nobody else from reading, asking or writing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from memrl.agent.history import Change, History
from memrl.agent.loaded import LoadedPolicy
from memrl.agent.memory_file import LONGEST_WHY, MemoryFile
from memrl.config import MemoryConfig
from memrl.config.registries import ENGINES
from memrl.engines.endpoint_engine import Served
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import Prompter, open_prompter
from memrl.envs.designs import MemoryItem, MemoryView
from memrl.envs.tools import ToolCall, ToolResult, clean_text
from memrl.errors import ConfigError, DataError
from memrl.frozen.reader import Answer
from memrl.policies.exported import open_exported

WHO = "agent"
CUT = " [...]"
"""The end of a reason that is longer than the history holds."""


class MemoryAgent:
    """Reads texts into one user's memory and answers from it. `open` makes one, `for_user` another of the same model.

    An adapter's agent answers by the base model, as in training; that of a merged model by the policy itself, since
    there is no other. Each method that asks a model has an async twin (`aread`, `aask`). Any thread may call any
    method; texts of one agent are read one after another.
    """

    def __init__(self, policy: LoadedPolicy, file: MemoryFile, *, owns_policy: bool) -> None:
        self._policy = policy
        self._file = file
        self._owns_policy = owns_policy
        self._reading = asyncio.Lock()

    @classmethod
    def open(
        cls,
        policy: Path | str,
        *,
        store: Path | str,
        user: str = "default",
        budget: int | None = None,
        piece_tokens: int | None = None,
        engine: str = "transformers",
        served: Served | None = None,
        base_model: str | None = None,
        device: str = "auto",
        history: History | None = None,
    ) -> MemoryAgent:
        """An agent of an exported policy (`memrl export`).

        Args:
            policy: the exported folder: an adapter, or a merged model.
            store: the memory's file; made where there is none.
            user: whose memory.
            budget: tokens that the memory may hold; None: as in training.
            piece_tokens: of a text read at once, where they fit; None: of the longest chunk in training.
            engine: transformers or vllm, in this process.
            served: a server that has the policy already; instead of an engine here.
            base_model: where the base model of an adapter is, if no longer where it was trained.
            device: auto, cpu or cuda.
            history: how much of it is kept; None: the last 1000 changes of each user.

        Raises:
            ConfigError: the folder is no exported policy, or its model cannot be loaded.
            DataError: the file is no memory file, damaged, or cannot be written.
            StoreBusy: the file is new or of an older version, and another process holds it.
            EngineError: vLLM did not start, or the server does not have the policy.
        """
        if not ENGINES.knows(engine):
            known = " or ".join(ENGINES)
            raise ConfigError(f"engine is {engine!r}; it may be {known} (a server: served=Served(...)).")
        exported = open_exported(Path(policy), base_model=base_model)
        exported.config.model.device = device
        exported.config.rollout.engine = engine
        if budget is not None:
            exported.config.memory.budget = budget
        design = exported.config.memory.design
        if design != "stores":
            raise ConfigError(f"{policy} keeps a memory of the design {design!r}; a memory file can hold stores alone.")
        prompter = open_prompter(load_tokenizer(exported.config.model), exported.config.rollout.dialect)
        file = _open_file(exported.config.memory, prompter, store, user, history)
        try:
            return cls(LoadedPolicy(exported, prompter, served, piece_tokens), file, owns_policy=True)
        except BaseException:
            file.close()
            raise

    def for_user(self, user: str) -> MemoryAgent:
        """An agent for another user of the same file, with the same loaded model. Closing it leaves the model alone."""
        return MemoryAgent(self._policy, self._file.for_user(user), owns_policy=False)

    def read(self, text: str, *, time: str | None = None) -> list[ToolResult]:
        """Read a text and remember what is worth it; what became of each memory operation.

        A text longer than the policy's chunks is read in pieces, cut between lines and sentences; each is one
        transaction.

        Args:
            time: when it was said, as text.

        Raises:
            ConfigError: a single sentence is longer than the policy's prompt allows; nothing was changed.
            TooLong: the time is; nothing was changed.
            EngineError: the model failed; the pieces before are read.
            StoreBusy, StoreFailed: the file is held, or its disk full; the pieces before are read.
            Erased: the user was erased meanwhile; nothing of the text is remembered.
            Closed: the agent is closed, or was meanwhile; the pieces before are read.
        """
        return self._policy.wait(self._read(text, time))

    def ask(self, question: str) -> Answer:
        """Answer from the memory alone.

        Raises:
            DataError: there is no question.
            EngineError, ReaderError: the model failed.
            Closed: the agent is closed, or was meanwhile.
        """
        return self._policy.wait(self._ask(question))

    async def aread(self, text: str, *, time: str | None = None) -> list[ToolResult]:
        """`read`, awaited."""
        return await self._policy.awaited(self._read(text, time))

    async def aask(self, question: str) -> Answer:
        """`ask`, awaited."""
        return await self._policy.awaited(self._ask(question))

    def execute(
        self, calls: Sequence[ToolCall], *, time: str | None = None, by: str = "user", why: str = ""
    ) -> list[ToolResult]:
        """Carry out memory operations without asking the policy, in one transaction.

        Args:
            time: stamped on episodic items that name none.
            by: who asks for it, for the history.
            why: the reason, for the history.

        Raises:
            TooLong: `time`, `by` or `why` is.
            StoreBusy, StoreFailed: the file is held, or its disk full; nothing was changed.
        """
        return self._file.execute(calls, time=time, by=by, why=why)

    def search(self, query: str) -> MemoryView:
        """Return what the reader would be shown for a question."""
        return self._file.retrieve(clean_text(query), self._policy.config.memory.retrieve_budget)

    @property
    def memory(self) -> tuple[MemoryItem, ...]:
        """All that is remembered."""
        return self._file.items

    def memory_page(self, after: str | None = None, limit: int = 1000) -> tuple[list[MemoryItem], str | None]:
        """Return items in the order of their ids, and the id after which the next page begins (None: there is none)."""
        return self._file.page(after, limit)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as the policy reads it: what budgets are counted in."""
        return self._policy.prompter.count_tokens(clean_text(text))

    def history(self, item_id: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Change]:
        """Every change that is kept, or those of one item: when, who, why (the text that was read), before and after.

        Args:
            after: the `number` of the change after which they begin.
            limit: changes at most; None: all.
        """
        return self._file.history(item_id, after=after, limit=limit)

    def history_page(
        self, item_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[list[Change], int | None]:
        """Return what `history` does, and the number after which the next page begins (None: there is none)."""
        return self._file.history_page(item_id, after, limit)

    def undo(self) -> list[Change]:
        """Take back the newest change that is not undone: what one text did (of a long one: its last piece), or one
        `execute`. Empty where nothing is left."""
        return self._file.undo(by="user")

    def erase(self, item_id: str) -> int:
        """Remove an item for good: from the memory, from the history with the reasons of its changes, and from the
        file's bytes. What said the same earlier goes with it; what other items say now stays.

        Returns:
            How many items and changes are gone; 0 where nothing is known of that item, and no byte is left of an
            erasure that was not finished.

        Raises:
            StoreBusy, StoreFailed: nothing was erased; or `erased`: bytes may be left, until it is asked for again, or
                the file vacuumed.
        """
        return self._file.erase(item_id)

    def erase_user(self, user: str) -> int:
        """Remove all that the file has of a user for good, the name included. A text of theirs that is being read is
        not remembered.

        Returns:
            How many items and changes are gone; 0 where nobody of that name is known.

        Raises:
            StoreBusy, StoreFailed: as `erase`.
        """
        return self._file.erase_user(user)

    def check(self) -> None:
        """Look whether the memory's file is where it was and can be read.

        Raises:
            DataError: it is gone, another, or destroyed.
            Closed, StoreBusy, StoreFailed: as the names say.
        """
        self._file.check()

    def save(self, path: Path | str) -> None:
        """Copy the memory's file (of all users); `open(..., store=path)` reads it."""
        self._file.save(path)

    def close(self) -> None:
        """Let go of the file, and of the model where `open` made this agent; what was read is kept."""
        if self._owns_policy:
            self._file.hurry()  # a file that others hold keeps nobody from ending
            self._policy.close()
        self._file.close()

    def __enter__(self) -> MemoryAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _read(self, text: str, time: str | None) -> list[ToolResult]:
        policy, file = self._policy, self._file
        text, time = clean_text(text), None if time is None else clean_text(time)
        async with self._reading:
            pieces = await policy.cut(text, time)
            life = await policy.write(file.begin)
            results: list[ToolResult] = []
            for piece in pieces:
                calls = await policy.calls(await policy.look(self._prompt, piece, time))
                why = piece if len(piece) <= LONGEST_WHY else piece[: LONGEST_WHY - len(CUT)] + CUT
                write = partial(file.execute, calls, time=time, by=WHO, why=why, life=life)
                results += await policy.write(write)
            return results

    def _prompt(self, piece: str, time: str | None) -> list[int]:
        """Return what the policy is shown of a text."""
        with self._file.reading() as memory:
            return self._policy.prompt(piece, time, memory)

    async def _ask(self, question: str) -> Answer:
        if not question.strip():
            raise DataError("the question is empty.")
        question = clean_text(question)
        view = await self._policy.look(self._file.retrieve, question, self._policy.config.memory.retrieve_budget)
        return await self._policy.answer(question, view)


def _open_file(
    config: MemoryConfig, prompter: Prompter, store: Path | str, user: str, history: History | None
) -> MemoryFile:
    return MemoryFile(
        store,
        user,
        budget=config.budget,
        core_budget=config.core_budget,
        count_tokens=prompter.count_tokens,
        history=history,
    )
