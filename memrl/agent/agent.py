"""MemoryAgent: a trained policy in somebody's own program. It reads, remembers, and answers from what it remembers.

    from memrl import MemoryAgent

    with MemoryAgent.open("exported/tiny", store="memory.sqlite", user="ann") as agent:
        agent.read("I have moved to Lisbon.", time="2 May")
        print(agent.ask("Where do I live?").text)

The memory is a `MemoryFile`: it outlives the program, several processes may share it, and users never see each other's.
Invariant: models and files are touched in one event loop alone, so that any thread may call any method.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from memrl.agent.memory_file import Change, MemoryFile
from memrl.config import MemoryConfig
from memrl.config.registries import ENGINES
from memrl.engines.build import open_engine
from memrl.engines.endpoint_engine import Served
from memrl.engines.engine import Place, Sampling
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import Prompter, open_prompter
from memrl.engines.transformers_engine import TransformersEngine
from memrl.envs.building.chunking import Unit, cut
from memrl.envs.designs import MemoryItem, MemoryView
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.calls import all_calls
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall, ToolResult
from memrl.errors import ConfigError, DataError
from memrl.frozen.reader import Answer, PolicyBaseReader
from memrl.policies.exported import Exported, open_exported
from memrl.rollout.preflight import first_prompt

Result = TypeVar("Result")
WHO = "agent"
LONG = 20_000
"""Characters that are counted at once, and of a text that is cut into pieces in the event loop itself."""
SLACK = 8
"""Tokens: the numbers in the prompt's headings grow with the memory."""


class MemoryAgent:
    """Reads texts into one user's memory and answers from it. `open` makes one, `for_user` another of the same model.

    An adapter's agent answers by the base model, as in training; that of a merged model by the policy itself, since
    there is no other. Each method that asks a model has an async twin (`aread`, `aask`). Any thread may call any
    method; texts of one agent are read one after another.
    """

    def __init__(self, policy: _Policy, file: MemoryFile, *, owns_policy: bool) -> None:
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

        Raises:
            ConfigError: the folder is no exported policy, or its model cannot be loaded.
            DataError: the file is no memory file, or damaged.
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
        file = _open_file(exported.config.memory, prompter, store, user)
        try:
            return cls(_Policy(exported, prompter, served, piece_tokens), file, owns_policy=True)
        except BaseException:
            file.close()
            raise

    def for_user(self, user: str) -> MemoryAgent:
        """An agent for another user of the same file, with the same loaded model. Closing it leaves the model alone."""
        policy = self._policy
        file = policy.run(lambda: _open_file(policy.config.memory, policy.prompter, self._file.path, user))
        return MemoryAgent(policy, file, owns_policy=False)

    def read(self, text: str, *, time: str | None = None) -> list[ToolResult]:
        """Read a text and remember what is worth it; what became of each memory operation.

        A text longer than the policy's chunks is read in pieces, cut between lines and sentences; each is one
        transaction.

        Args:
            time: when it was said, as text.

        Raises:
            ConfigError: a single sentence is longer than the policy's prompt allows; nothing was changed.
            EngineError: the model failed; the pieces before are read.
        """
        return self._policy.begin(self._read(text, time)).result()

    def ask(self, question: str) -> Answer:
        """Answer from the memory alone.

        Raises:
            DataError: there is no question.
            EngineError, ReaderError: the model failed.
        """
        return self._policy.begin(self._ask(question)).result()

    async def aread(self, text: str, *, time: str | None = None) -> list[ToolResult]:
        """`read`, awaited."""
        return await asyncio.wrap_future(self._policy.begin(self._read(text, time)))

    async def aask(self, question: str) -> Answer:
        """`ask`, awaited."""
        return await asyncio.wrap_future(self._policy.begin(self._ask(question)))

    def execute(
        self, calls: Sequence[ToolCall], *, time: str | None = None, by: str = "user", why: str = ""
    ) -> list[ToolResult]:
        """Carry out memory operations without asking the policy, in one transaction.

        Args:
            time: stamped on episodic items that name none.
            by: who asks for it, for the history.
            why: the reason, for the history.
        """
        return self._policy.run(lambda: self._file.execute(calls, time=time, by=by, why=why))

    def search(self, query: str) -> MemoryView:
        """Return what the reader would be shown for a question."""
        budget = self._policy.config.memory.retrieve_budget
        return self._policy.run(lambda: self._file.state().retrieve(query, budget))

    @property
    def memory(self) -> tuple[MemoryItem, ...]:
        """All that is remembered."""
        return self._policy.run(lambda: self._file.items)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as the policy reads it: what budgets are counted in."""
        return self._policy.prompter.count_tokens(text)

    def history(self, item_id: str | None = None) -> list[Change]:
        """Every change, or those of one item: when, who, why (the text that was read), before and after."""
        return self._policy.run(lambda: self._file.history(item_id))

    def undo(self) -> list[Change]:
        """Take back the newest change that is not undone: what one text did (of a long one: its last piece), or one
        `execute`. Empty where nothing is left."""
        return self._policy.run(lambda: self._file.undo(by="user"))

    def check(self) -> None:
        """Look whether the memory's file is where it was and can be read, without waiting for anybody.

        Raises:
            DataError: it is gone, another, or destroyed.
        """
        self._file.check()

    def save(self, path: Path | str) -> None:
        """Copy the memory's file (of all users); `open(..., store=path)` reads it."""
        self._policy.run(lambda: self._file.save(path))

    def close(self) -> None:
        """Let go of the file, and of the model where `open` made this agent; what was read is kept."""
        self._policy.run(self._file.close)
        if self._owns_policy:
            self._policy.close()

    def __enter__(self) -> MemoryAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _read(self, text: str, time: str | None) -> list[ToolResult]:
        policy = self._policy
        async with self._reading:
            results: list[ToolResult] = []
            for piece in await policy.cut(text, time):
                calls = await policy.calls(piece, time, self._file.state())
                results += self._file.execute(calls, time=time, by=WHO, why=piece)
            return results

    async def _ask(self, question: str) -> Answer:
        if not question.strip():
            raise DataError("the question is empty.")
        return await self._policy.reader.answer(_asked(question), self._file.state(), place=self._policy.place())


class _Policy:
    """The things that agents of all users share: a loaded policy, its reader, and the event loop in which everything is
    done.

    Raises:
        ConfigError, EngineError: the model cannot be loaded.
    """

    def __init__(self, exported: Exported, prompter: Prompter, served: Served | None, piece_tokens: int | None) -> None:
        self.config = exported.config
        self.prompter = prompter
        self._adapter = exported.adapter
        self._engine = open_engine(self.config, prompter.tokenizer, served)
        if isinstance(self._engine, TransformersEngine):
            self._engine.take_turns()
        self.reader = PolicyBaseReader(self.config.reader, self.config.memory.retrieve_budget, self._engine, prompter)
        self._asked = 0
        self._cutting = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="MemoryAgent", daemon=True)
        self._thread.start()
        try:
            if self._adapter is not None:
                self.begin(self._engine.load_adapter(self._adapter)).result()
            empty = len(self._prompt(".", "."))
            room = self.config.rollout.max_prompt_tokens - self.config.memory.render_budget - empty - SLACK
            if room < 1:
                raise ConfigError(
                    f"{exported.folder}: max_prompt_tokens ({self.config.rollout.max_prompt_tokens}) leaves no room "
                    "for a text beside the instruction and the memory."
                )
        except BaseException:
            self.close()
            raise
        self._room = room
        self._piece = min(room, piece_tokens or exported.chunk_tokens or room)

    def begin(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start `work` in the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Callable[[], Result]) -> Result:
        """Do `work` in the loop, and wait for it."""

        async def done() -> Result:
            return work()

        return self.begin(done()).result()

    def place(self) -> Place:
        """Return the next request's place among all."""
        self._asked += 1
        return Place(0, self._asked)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._engine.close()

    async def calls(self, text: str, time: str | None, memory: StoreMemory) -> list[ToolCall]:
        """Return what the policy wants done about a text."""
        ids = self._prompt(text, time, memory)
        sampling = Sampling(self.config.rollout.max_completion_tokens, 0.0)
        completion = await self._engine.generate(ids, sampling, self._adapter, place=self.place())
        said = self.prompter.decode(completion.ids)
        tools = [tool.name for tool in memory.tools]
        calls = all_calls(self.prompter.dialect, said, tools, truncated=completion.stop == "length")
        return calls[: self.config.memory.max_calls]

    async def cut(self, text: str, time: str | None) -> list[str]:
        """`pieces`, in another thread where it takes long: a megabyte takes seconds. One at a time, so that texts whose
        reading is cancelled meanwhile are never cut."""
        if len(text) < LONG:
            return self.pieces(text, time)
        async with self._cutting:
            return await asyncio.to_thread(self.pieces, text, time)

    def pieces(self, text: str, time: str | None) -> list[str]:
        """A text in pieces that the policy can read, as long as its chunks in training.

        Raises:
            ConfigError: a sentence does not fit into the prompt.
            DataError: there is no text.
        """

        def count(text: str) -> int:
            # Slices of long ones, which have a token more here and there: nothing else runs while one text is counted.
            slices = [text[start : start + LONG] for start in range(0, len(text), LONG)]
            return sum(map(self.prompter.count_tokens, slices)) + 2  # the break that joins it to the next

        if not text.strip():
            raise DataError("the text is empty.")
        if count(text[:LONG]) - 2 <= self._piece and count(text) - 2 <= self._piece:
            return [text]
        units = [Unit(line, turn=count(line) <= self._piece) for line in text.splitlines() if line.strip()]
        pieces = [piece.text for piece in cut(units, self._piece, count)]
        room = self._room - (count(time) if time else 0)
        for piece in pieces:
            if count(piece) > room:
                raise ConfigError(
                    f"a sentence of {count(piece)} tokens does not fit beside the memory, where {room} do: "
                    f"{piece[:60]!r}... Break it up."
                )
        return pieces

    def _prompt(self, text: str, time: str | None, memory: StoreMemory | None = None) -> list[int]:
        """Return what the policy is shown of a text and a memory (None: an empty one), as in training."""
        stream = Stream(id="read", source=WHO, chunks=(Chunk(text=text, time=time),), questions=(_asked("?"),))
        return first_prompt(self.config.memory, self.config.rollout, self.prompter, stream, memory)


def _open_file(config: MemoryConfig, prompter: Prompter, store: Path | str, user: str) -> MemoryFile:
    return MemoryFile(
        store,
        user,
        budget=config.budget,
        core_budget=config.core_budget,
        count_tokens=prompter.count_tokens,
    )


def _asked(question: str) -> Question:
    """A question whose answer nobody knows."""
    return Question(id="q", text=question, answers=("?",))
