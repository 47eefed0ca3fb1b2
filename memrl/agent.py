"""MemoryAgent: a trained policy in somebody's own program. It reads, remembers, and answers from what it remembers.

    from memrl import MemoryAgent

    with MemoryAgent.open("exported/tiny", store="memory.sqlite", user="ann") as agent:
        agent.read("I have moved to Lisbon.", time="2 May")
        print(agent.ask("Where do I live?").text)

The memory is a `MemoryFile`: it outlives the program, several processes may share it, and users never see each other's.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from envs.dialects import DIALECTS
from envs.memory import MemoryItem
from envs.stream import Chunk, Question, Stream
from envs.tools import ToolResult
from memrl.config import Config, MemoryConfig, ModelConfig, ReaderConfig, RolloutConfig
from memrl.errors import ConfigError
from memrl.export import AGENT_FILE
from memrl.memory_file import Change, MemoryFile
from memrl.models import end_ids, load_tokenizer
from memrl.reader import Answer, PolicyBaseReader
from memrl.records import AdapterRef
from memrl.rollout.build import build_engine
from memrl.rollout.engine import Engine, Sampling
from memrl.rollout.environment import new_env
from memrl.rollout.prompting import Prompter

Result = TypeVar("Result")
WHO = "agent"


class MemoryAgent:
    """Reads texts into a memory and answers from it. `open` makes one.

    An adapter's agent answers by the base model, as in training; that of a merged model by the policy itself, since
    there is no other. Each method that asks a model has an async twin (`aread`, `aask`); both may be called from any
    thread, and texts are read one after another.
    """

    def __init__(
        self, config: Config, engine: Engine, prompter: Prompter, adapter: AdapterRef | None, file: MemoryFile
    ) -> None:
        self._config = config
        self._engine = engine
        self._adapter = adapter
        self._file = file
        self._prompter = prompter
        self._reader = PolicyBaseReader(config.reader, config.memory.retrieve_budget, engine, prompter)
        self._asked = 0
        self._loop = asyncio.new_event_loop()
        self._reading = asyncio.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="MemoryAgent", daemon=True)
        self._thread.start()
        if adapter is not None:
            self._begin(engine.load_adapter(adapter)).result()

    @classmethod
    def open(
        cls,
        policy: Path | str,
        *,
        store: Path | str,
        user: str = "default",
        base_model: str | None = None,
        device: str = "auto",
    ) -> MemoryAgent:
        """An agent of an exported policy (`memrl export`).

        Args:
            policy: the exported folder: an adapter, or a merged model.
            store: the memory's file; made where there is none.
            user: whose memory.
            base_model: where the base model of an adapter is, if no longer where it was trained.
            device: auto, cpu or cuda.

        Raises:
            ConfigError: the folder is no exported policy, or its model cannot be loaded.
            DataError: the file is no memory file, or damaged.
        """
        folder = Path(policy)
        try:
            told = json.loads((folder / AGENT_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} is no exported policy: {AGENT_FILE} cannot be read ({error}).") from error
        merged = told["format"] == "merged"
        path = str(folder) if merged else base_model or told["base_model"]
        shared = ("dialect", "instruction", "example", "max_prompt_tokens", "max_completion_tokens")
        config = Config(
            model=ModelConfig(path=path, dtype=told["dtype"], device=device),
            memory=MemoryConfig(**told["memory"]),
            rollout=RolloutConfig(**{key: told[key] for key in shared}),
            reader=ReaderConfig(**told["reader"]),
        )
        tokenizer = load_tokenizer(config)
        prompter = Prompter(tokenizer, DIALECTS[config.rollout.dialect]())
        file = MemoryFile(
            store,
            user,
            budget=config.memory.budget,
            core_budget=config.memory.core_budget,
            count_tokens=prompter.count_tokens,
        )
        try:
            engine = build_engine(config, end_ids(config, tokenizer))
            adapter = None if merged else AdapterRef(1, "exported", str(folder))
            return cls(config, engine, prompter, adapter, file)
        except BaseException:
            file.close()
            raise

    def read(self, text: str, *, time: str | None = None) -> list[ToolResult]:
        """Read a text and remember what is worth it; what became of each memory operation.

        Args:
            time: when it was said, as text.

        Raises:
            ConfigError: it is longer than the policy's prompt allows.
            EngineError: the model failed; nothing was changed.
        """
        return self._begin(self._read(text, time)).result()

    def ask(self, question: str) -> Answer:
        """Answer from the memory alone.

        Raises:
            EngineError, ReaderError: the model failed.
        """
        return self._begin(self._ask(question)).result()

    async def aread(self, text: str, *, time: str | None = None) -> list[ToolResult]:
        """`read`, awaited."""
        return await asyncio.wrap_future(self._begin(self._read(text, time)))

    async def aask(self, question: str) -> Answer:
        """`ask`, awaited."""
        return await asyncio.wrap_future(self._begin(self._ask(question)))

    @property
    def memory(self) -> tuple[MemoryItem, ...]:
        """All that is remembered."""
        return self._file.items

    def history(self, item_id: str | None = None) -> list[Change]:
        """Every change, or those of one item: when, why (the text that was read), before and after."""
        return self._file.history(item_id)

    def undo(self) -> list[Change]:
        """Take back what the last text did that is not undone; empty where nothing is left."""
        return self._file.undo(by="user")

    def save(self, path: Path | str) -> None:
        """Copy the memory's file; `open(..., store=path)` reads it."""
        self._file.save(path)

    def close(self) -> None:
        """Let go of model and file; what was read is kept."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._engine.close()
        self._file.close()

    def __enter__(self) -> MemoryAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _read(self, text: str, time: str | None) -> list[ToolResult]:
        rollout = self._config.rollout
        async with self._reading:
            stream = Stream(id="read", source=WHO, chunks=(Chunk(text=text, time=time),), questions=(_asked("?"),))
            observation = new_env(self._config, self._prompter, stream, self._file.state()).observe()
            ids = self._prompter.encode(observation.messages, observation.tools)
            if len(ids) > rollout.max_prompt_tokens:
                raise ConfigError(
                    f"the text and the memory beside it have {len(ids)} tokens, the policy reads "
                    f"{rollout.max_prompt_tokens} at once. Read it in pieces."
                )
            sampling = Sampling(rollout.max_completion_tokens, 0.0)
            completion = await self._engine.generate(ids, sampling, self._adapter, order=self._order())
            said = self._prompter.decode(completion.ids)
            calls = self._prompter.dialect.parse(said, truncated=completion.stop == "length")
            return self._file.execute(calls[: self._config.memory.max_calls], time=time, by=WHO, why=text)

    async def _ask(self, question: str) -> Answer:
        return await self._reader.answer(_asked(question), self._file.state(), order=self._order())

    def _order(self) -> tuple[int, ...]:
        self._asked += 1
        return (0, self._asked)

    def _begin(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def _asked(question: str) -> Question:
    """A question whose answer nobody knows."""
    return Question(id="q", text=question, answers=("?",))
