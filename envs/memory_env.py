"""The environment of one episode: show a chunk and the memory, take one completion, carry out its calls.

    env = MemoryEnv(stream, memory, dialect)
    while not env.done:
        observation = env.observe()
        result = env.step(completion_text)

It holds no model and no tokenizer; messages go out, text comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memrl.envs.designs import MemoryDesign, open_journal
from memrl.envs.designs.stepping import begin_step
from memrl.envs.dialects import Dialect
from memrl.envs.dialects.calls import all_calls
from memrl.envs.errors import EnvironmentFault
from memrl.envs.stream import Chunk, Stream
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema
from memrl.envs.wrappers.consolidate import TIDY, PlannedStep, turns_of

INSTRUCTION = (
    "You keep a memory while reading a long text piece by piece. Later, questions are answered from this memory alone. "
    "Store what is worth knowing, one self-contained sentence an item; update what has changed; skip what nobody will "
    "ask about. The memory is limited."
)


@dataclass(frozen=True)
class Observation:
    """The view that the policy has of one step: chat messages and the tools it may call."""

    messages: list[dict[str, str]]
    tools: Sequence[ToolSchema]
    memory: str = ""
    """The part of the last message that shows the memory."""


@dataclass(frozen=True)
class StepResult:
    """The effect of one completion."""

    calls: list[ToolCall]
    """Those that were carried out; the results of any beyond `max_calls` come after theirs."""
    refused: list[ToolCall]
    """Those beyond `max_calls`."""
    results: list[ToolResult]
    diff: list[dict[str, Any]]
    memory_tokens: int


class MemoryEnv:
    """One episode over one stream.

    Args:
        stream: the task.
        memory: an empty memory of any design.
        dialect: how calls are written.
        instruction: the system prompt; None takes `INSTRUCTION`.
        example: show the design's worked example as an earlier turn, to a model that makes no calls unless it sees one.
        render_budget: tokens of memory shown in a step.
        max_calls: calls carried out in a step; each further one is refused with `too_many_calls`.
    """

    def __init__(
        self,
        stream: Stream,
        memory: MemoryDesign,
        dialect: Dialect,
        *,
        instruction: str | None = None,
        example: bool = False,
        render_budget: int = 1024,
        max_calls: int = 32,
    ) -> None:
        self.stream = stream
        self.memory = memory
        self.position = 0
        """The number of the step: that of its chunk, where no step tidies."""
        self._turns = turns_of(memory, len(stream.chunks))
        self._dialect = dialect
        self._instruction = INSTRUCTION if instruction is None else instruction
        self._example = self._turns_of_example() if example else []
        self._render_budget = render_budget
        self._max_calls = max_calls

    @property
    def done(self) -> bool:
        return self.position >= len(self._turns)

    @property
    def turn(self) -> PlannedStep:
        """The plan of the step: what is read in it.

        Raises:
            EnvironmentFault: the stream is finished.
        """
        if self.done:
            raise EnvironmentFault(f"stream {self.stream.id!r} has no chunk {self.position}: the episode is over")
        return self._turns[self.position]

    def go_to(self, chunk: int) -> None:
        """Make the step in which a chunk is read the current one."""
        self.position = self._turns.index(PlannedStep(chunk))

    def observe(self) -> Observation:
        """The prompt for the current chunk, or for tidying the memory.

        Raises:
            EnvironmentFault: the stream is finished.
        """
        return self._shown(self._current())

    def observe_tidying(self) -> Observation:
        """The prompt for tidying the memory as it is, whatever is to be read."""
        return self._shown(None)

    def _shown(self, chunk: Chunk | None) -> Observation:
        """The prompt for a chunk; None: for tidying."""
        view = self.memory.render("" if chunk is None else chunk.text, self._render_budget)
        full = round(10 * self.memory.token_count() / max(self.memory.budget, 1)) * 10
        memory = "\n".join(filter(None, [f"# Memory ({full}% full, {view.hidden} hidden)", view.text()]))
        messages = [
            {"role": "system", "content": self._instruction},
            *self._example,
            {"role": "user", "content": _tidying(memory) if chunk is None else _page(memory, chunk.text, chunk.time)},
        ]
        return Observation(messages, self.memory.tools, memory)

    def step(self, text: str, *, truncated: bool = False) -> StepResult:
        """Carry out a completion and move on to the next chunk. Takes any text; a bad call is a typed result.

        Raises:
            EnvironmentFault: the stream is finished.
        """
        chunk = self._current()
        tools = [tool.name for tool in self.memory.tools]
        calls = all_calls(self._dialect, text, tools, truncated=truncated)
        results = []
        with open_journal(self.memory) as journal:
            begin_step(self.memory, None if chunk is None else chunk.text)
            for number, call in enumerate(calls):
                if number < self._max_calls:
                    results.append(self.memory.execute(call, time=None if chunk is None else chunk.time))
                else:
                    message = f"a step may make {self._max_calls} calls"
                    results.append(ToolResult(name=call.name, code=ResultCode.TOO_MANY_CALLS, message=message))
            changes = journal.diff()
        self.position += 1
        done, refused = calls[: self._max_calls], calls[self._max_calls :]
        return StepResult(done, refused, results, changes, self.memory.token_count())

    def _turns_of_example(self) -> list[dict[str, str]]:
        text, calls = self.memory.example
        return [
            {"role": "user", "content": _page("# Memory (0% full, 0 hidden)", text, None)},
            {"role": "assistant", "content": self._dialect.format(calls)},
        ]

    def _current(self) -> Chunk | None:
        """The chunk that is read; None: the memory is tidied."""
        turn = self.turn
        return None if turn.tidies else self.stream.chunks[turn.chunk]


def _page(memory: str, text: str, time: str | None) -> str:
    heading = f"# Text ({time})" if time else "# Text"
    return f"{memory}\n{heading}\n{text}"


def _tidying(memory: str) -> str:
    return f"{memory}\n# No text\n{TIDY}"
