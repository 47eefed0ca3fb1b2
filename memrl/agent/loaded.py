"""The loaded policy that agents of all users share, and the threads in which work is done for them.

Invariant: models are asked in one event loop; what may wait for a file is done in threads, and what only looks at it in
others than what writes, so that writers who wait keep nobody from looking.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast

from memrl.agent.memory_file import check_length
from memrl.engines.build import open_engine
from memrl.engines.endpoint_engine import Served
from memrl.engines.engine import Engine, Place, sampling_of
from memrl.engines.prompting import Prompter
from memrl.envs.building.chunking import Unit, cut
from memrl.envs.designs import MemoryDesign, MemoryView, open_journal
from memrl.envs.dialects.calls import all_calls
from memrl.envs.memory_env import MemoryEnv, StepResult
from memrl.envs.searching import is_search
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall, ToolResult
from memrl.errors import Closed, ConfigError, DataError, TooLong
from memrl.frozen.reader import Answer, PolicyBaseReader
from memrl.policies.exported import Exported
from memrl.records import Completion
from memrl.rollout.environment import new_env
from memrl.rollout.preflight import first_prompt
from memrl.rollout.turns import later_tokens, play_turns

Said = list[tuple[str, bool]]
"""What the policy said in each turn about a text, and whether it was cut off."""
Result = TypeVar("Result")
LONG = 20_000
"""Characters that are counted at once, and of a text that is cut beside others: a megabyte takes seconds."""
SLACK = 8
"""Tokens: the numbers in the prompt's headings grow with the memory."""
THREADS = 16
"""Of each kind: those that look, and those that write."""
_CLOSED = "the agent is closed. Open another."


class LoadedPolicy:
    """A loaded policy, its reader, and the event loop in which models are asked.

    Raises:
        ConfigError, EngineError: the model cannot be loaded.
    """

    def __init__(self, exported: Exported, prompter: Prompter, served: Served | None, piece_tokens: int | None) -> None:
        self.config = exported.config
        self.prompter = prompter
        self.embedded = exported.embedded
        self._adapter = exported.adapter
        self._engine = open_engine(self.config, prompter.tokenizer, served)
        if served is None:
            _take_turns(self._engine)
        self._reader = PolicyBaseReader(self.config.reader, self.config.memory.retrieve_budget, self._engine, prompter)
        self._asked = 0
        self._closed = False
        self._lock = threading.Lock()
        self._cutting = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any] | None] = set()
        """Those of `wait` and `awaited`, touched in the loop alone."""
        self._lookers = ThreadPoolExecutor(THREADS, "MemoryAgent-looks")
        self._writers = ThreadPoolExecutor(THREADS, "MemoryAgent-writes")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="MemoryAgent", daemon=True)
        self._thread.start()
        try:
            if self._adapter is not None:
                self.wait(self._engine.load_adapter(self._adapter))
            empty = len(self.prompt(".", "."))
            rollout, memory = self.config.rollout, self.config.memory
            later = later_tokens(prompter, rollout, memory)
            room = rollout.max_prompt_tokens - memory.render_budget - later - empty - SLACK
            if room < 1:
                raise ConfigError(
                    f"{exported.folder}: max_prompt_tokens ({rollout.max_prompt_tokens}) leaves no room "
                    "for a text beside the instruction and the memory."
                )
        except BaseException:
            self.close()
            raise
        self._room = room
        self._piece = min(room, piece_tokens or exported.chunk_tokens or room)

    # Where it is done -------------------------------------------------------------------------------------------

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do `work` in the loop, and wait for it, from any thread. Whoever is interrupted ends it.

        Raises:
            Closed: the policy is closed, or was meanwhile.
        """
        begun = self._begin(work)
        try:
            return begun.result()
        except CancelledError:
            raise Closed(_CLOSED) from None
        except BaseException:
            begun.cancel()
            raise

    async def awaited(self, work: Coroutine[Any, Any, Result]) -> Result:
        """`wait`, awaited in another loop."""
        try:
            return await asyncio.wrap_future(self._begin(work))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                raise Closed(_CLOSED) from None
            raise

    async def look(self, work: Callable[..., Result], *given: Any) -> Result:
        """Do `work`, which looks at a memory, in a thread."""
        return await self._loop.run_in_executor(self._lookers, partial(work, *given))

    async def write(self, work: Callable[[], Result]) -> Result:
        """Do `work`, which may wait for its turn to write, in a thread."""
        return await self._loop.run_in_executor(self._writers, work)

    async def elsewhere(self, work: Callable[[], Result], *, writes: bool) -> Result:
        """Do `work` in a thread, awaited in another loop.

        Raises:
            Closed: the policy is closed.
        """
        with self._lock:
            if self._closed:
                raise Closed(_CLOSED)
            begun = (self._writers if writes else self._lookers).submit(work)
        return await asyncio.wrap_future(begun)

    def close(self) -> None:
        """End what is under way, but for writes that have begun, and let go of the model."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for threads in (self._lookers, self._writers):
            threads.shutdown()
        self._loop.close()
        self._engine.close()

    def _begin(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        with self._lock:
            if self._closed:
                work.close()
                raise Closed(_CLOSED)
            return asyncio.run_coroutine_threadsafe(self._noted(work), self._loop)

    async def _noted(self, work: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            return await work
        finally:
            self._tasks.discard(task)

    async def _end(self) -> None:
        """End all that was begun, and wait for its end. The engine's own tasks are the engine's to end."""
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What it is asked -------------------------------------------------------------------------------------------

    async def calls(
        self, prompt_ids: list[int], tools: Sequence[str], play: Callable[[Said], StepResult]
    ) -> tuple[list[ToolCall], list[ToolResult]]:
        """Return what the policy wants done about what it is shown, searches apart; and of each call what came of it
        when it was tried, none where the policy has but one turn.

        Args:
            tools: names of those that it has.
            play: tries what was said in all turns so far, and returns the effect of the last.
        """
        rollout = self.config.rollout
        sampling = sampling_of(rollout, 0.0)

        async def complete(ids: list[int], turn: int) -> Completion:
            return await self._engine.generate(ids, sampling, self._adapter, place=self._place())

        if rollout.max_turns == 1:
            completion = await complete(prompt_ids, 0)
            said = self.prompter.decode(completion.ids)
            calls = all_calls(self.prompter.dialect, said, tools, truncated=completion.stop == "length")
            return calls[: self.config.memory.max_calls], []
        spoken: Said = []

        async def tried(text: str, truncated: bool) -> StepResult:
            spoken.append((text, truncated))
            return await self.look(play, spoken)

        _, result = await play_turns(
            prompt_ids,
            complete,
            tried,
            self.prompter,
            search_budget=self.config.memory.search_budget,
            max_prompt_tokens=rollout.max_prompt_tokens,
            where="the text that is read",
        )
        pairs = [pair for pair in zip(result.calls, result.results, strict=False) if not is_search(pair[0])]
        return [call for call, _ in pairs], [found for _, found in pairs]

    def try_turns(self, text: str | None, time: str | None, memory: MemoryDesign, said: Said) -> StepResult:
        """Carry out what was said in the turns so far about a text, or to tidy the memory (None), and take it back.

        Returns:
            The effect of the last turn.
        """
        with open_journal(memory) as journal:
            env = self._env(text, time, memory)
            try:
                *_, result = [env.step(words, truncated=truncated) for words, truncated in said]
            finally:
                env.close()
                journal.undo()
        return result

    async def answer(self, question: str, view: MemoryView) -> Answer:
        """Return the answer of whoever is shown `view`."""
        shown = cast(MemoryDesign, _Shown(view))  # of a memory, a reader asks nothing else
        return await self._reader.answer(_asked(question), shown, place=self._place())

    def prompt(self, text: str, time: str | None, memory: MemoryDesign | None = None) -> list[int]:
        """Return what the policy is shown of a text and a memory (None: an empty one), as in training."""
        return first_prompt(self.config.memory, self.config.rollout, self.prompter, _read(text, time), memory)

    def tidying(self, memory: MemoryDesign) -> list[int]:
        """Return what the policy is shown to tidy a memory, as in training."""
        observation = self._env(None, None, memory).observe()
        return self.prompter.encode(observation.messages, observation.tools)

    def _env(self, text: str | None, time: str | None, memory: MemoryDesign) -> MemoryEnv:
        """Return the environment in which a text is read, or the memory tidied (None)."""
        stream = _read("." if text is None else text, time)
        env = new_env(self.config.memory, self.config.rollout, self.prompter, stream, memory)
        if text is None:
            env.only_tidy()
        return env

    async def cut(self, text: str, time: str | None) -> list[str]:
        """`pieces`, in a thread. Long texts are cut one at a time, so that those whose reading is cancelled meanwhile
        never are; the thread of one whose reading is cancelled ends at the next sentence."""
        if len(text) < LONG:
            return await self.look(self.pieces, text, time)
        async with self._cutting:
            given_up = threading.Event()
            try:
                return await self.look(self.pieces, text, time, given_up)
            finally:
                given_up.set()

    def pieces(self, text: str, time: str | None, given_up: threading.Event | None = None) -> list[str]:
        """A text in pieces that the policy can read, as long as its chunks in training.

        Args:
            given_up: set by whoever no longer waits for them.

        Raises:
            ConfigError: a sentence does not fit into the prompt.
            TooLong: the time is.
            DataError: there is no text.
        """

        def count(text: str) -> int:
            # Slices of long ones, which have a token more here and there: nothing else runs while one text is counted.
            slices = [text[start : start + LONG] for start in range(0, len(text), LONG)]
            tokens = 2  # the break that joins it to the next
            for part in slices:
                if given_up is not None and given_up.is_set():
                    raise Closed("nobody waits for the pieces any more.")
                tokens += self.prompter.count_tokens(part)
            return tokens

        if not text.strip():
            raise DataError("the text is empty.")
        check_length("the time", time or "")
        room = self._room - (count(time) if time else 0)
        if room < 1:
            raise TooLong(f"the time {time!r} leaves no room for a text in the policy's prompt. Shorten it.")
        most = min(self._piece, room)
        if count(text[:LONG]) - 2 <= most and count(text) - 2 <= most:
            return [text]
        units = [Unit(line, turn=count(line) <= most) for line in text.splitlines() if line.strip()]
        pieces = [piece.text for piece in cut(units, most, count)]
        for piece in pieces:
            if count(piece) > room:
                raise ConfigError(
                    f"a sentence of {count(piece)} tokens does not fit beside the memory, where {room} do: "
                    f"{piece[:60]!r}... Break it up."
                )
        return pieces

    def _place(self) -> Place:
        """Return the next request's place among all."""
        self._asked += 1
        return Place(0, self._asked)


class _Shown:
    """A memory of which the reader is shown what was found already, in a thread that may wait for it."""

    def __init__(self, view: MemoryView) -> None:
        self._view = view

    def retrieve(self, question: str, budget: int) -> MemoryView:
        return self._view


def _read(text: str, time: str | None) -> Stream:
    """A stream of one text, of which nobody asks anything."""
    return Stream(id="read", source="agent", chunks=(Chunk(text=text, time=time),), questions=(_asked("?"),))


def _asked(question: str) -> Question:
    """A question whose answer nobody knows."""
    return Question(id="q", text=question, answers=("?",))


def _take_turns(engine: Engine) -> None:
    """Let an engine that computes in this process share it with others' requests."""
    from memrl.engines.transformers_engine import TransformersEngine

    if isinstance(engine, TransformersEngine):
        engine.take_turns()
