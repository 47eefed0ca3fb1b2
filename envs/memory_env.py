"""The environment of one episode: show a chunk and the memory, take one completion, carry out its calls.

    env = MemoryEnv(stream, memory, dialect)
    while not env.done:
        observation = env.observe()
        result = env.step(completion_text)

It holds no model and no tokenizer; messages go out, text comes in. Where a step may have several turns, a completion
with a search leaves the environment at its chunk: `StepResult.told` is what comes back, and the next completion goes
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from memrl.envs.designs import Journal, MemoryDesign, open_journal
from memrl.envs.designs.stepping import begin_step
from memrl.envs.dialects import Dialect
from memrl.envs.dialects.calls import all_calls
from memrl.envs.errors import EnvironmentFault
from memrl.envs.searching import MOST_SEARCHES, SEARCH, is_search, refused, search, told, with_search
from memrl.envs.stream import Chunk, Stream
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema
from memrl.envs.wrappers.consolidate import TIDY, PlannedStep, plan_of

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
    """All that the step has changed; empty where it goes on."""
    memory_tokens: int
    told: str | None = None
    """What the searches have found, where the step goes on with a further turn."""


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
        max_turns: completions that a step may have; with more than one the memory can be searched.
        search_budget: tokens of memory that come back for the searches of one turn.

    Raises:
        EnvironmentFault: the design has a tool by the name of the search.
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
        max_turns: int = 1,
        search_budget: int = 256,
    ) -> None:
        self.stream = stream
        self.memory = memory
        self.position = 0
        """The number of the step: that of its chunk, where no step tidies."""
        self._plan = plan_of(memory, len(stream.chunks))
        self._dialect = dialect
        self._instruction = INSTRUCTION if instruction is None else instruction
        self._example = self._turns_of_example() if example else []
        self._render_budget = render_budget
        self._max_calls = max_calls
        self._max_turns = max_turns
        self.search_budget = search_budget
        self._turn = 0
        """Completions of the present step so far."""
        self._made = 0
        """Calls of the present step that were carried out."""
        self._open = ExitStack()
        self._journal: Journal | None = None
        """Of the present step, once it has begun."""
        if max_turns > 1 and any(tool.name == SEARCH for tool in memory.tools):
            raise EnvironmentFault(
                f"the memory design {type(memory).__name__} has a tool {SEARCH!r} of its own, and rollout.max_turns is "
                f"{max_turns}, which offers another by that name. Set rollout.max_turns=1, or rename the design's."
            )

    @property
    def tools(self) -> Sequence[ToolSchema]:
        """The tools that are offered: the design's, and the search where a step may have several turns."""
        return with_search(self.memory.tools, self._max_turns)

    @property
    def done(self) -> bool:
        return self.position >= len(self._plan)

    @property
    def planned(self) -> PlannedStep:
        """The plan of the step: what is read in it.

        Raises:
            EnvironmentFault: the stream is finished.
        """
        if self.done:
            raise EnvironmentFault(f"stream {self.stream.id!r} has no chunk {self.position}: the episode is over")
        return self._plan[self.position]

    def go_to(self, planned: PlannedStep) -> None:
        """Make a step of the episode the current one."""
        self.position = self._plan.index(planned)

    def observe(self) -> Observation:
        """The prompt for the current chunk, or for tidying the memory.

        Raises:
            EnvironmentFault: the stream is finished.
        """
        chunk = self._current()
        view = self.memory.render("" if chunk is None else chunk.text, self._render_budget)
        full = round(10 * self.memory.token_count() / max(self.memory.budget, 1)) * 10
        memory = "\n".join(filter(None, [f"# Memory ({full}% full, {view.hidden} hidden)", view.text()]))
        messages = [
            {"role": "system", "content": self._instruction},
            *self._example,
            {"role": "user", "content": _tidying(memory) if chunk is None else _page(memory, chunk.text, chunk.time)},
        ]
        return Observation(messages, self.tools, memory)

    def only_tidy(self) -> None:
        """Make tidying the memory as it is the one step of the episode, whatever is to be read."""
        self._plan, self.position = [PlannedStep(0, tidies=True)], 0

    def step(self, text: str, *, truncated: bool = False) -> StepResult:
        """Carry out a completion, and move on to the next chunk unless `told` comes back. Takes any text; a bad call is
        a typed result.

        Raises:
            EnvironmentFault: the stream is finished.
        """
        chunk = self._current()
        calls = all_calls(self._dialect, text, [tool.name for tool in self.tools], truncated=truncated)
        if self._journal is None:
            self._journal = self._open.enter_context(open_journal(self.memory))
            begin_step(self.memory, None if chunk is None else chunk.text)
        time = None if chunk is None else chunk.time
        left = self._max_calls - self._made
        done, beyond = calls[:left], calls[left:]
        self._turn += 1
        self._made += len(done)
        goes_on = self._turn < self._max_turns and not truncated
        found: list[ToolResult] = []
        results: list[ToolResult] = []
        share = self.search_budget // max(1, min(MOST_SEARCHES, sum(map(is_search, done))))
        for call in done:
            if self._max_turns == 1 or not is_search(call):
                results.append(self.memory.execute(call, time=time))
            elif not goes_on:
                results.append(refused(ResultCode.TRUNCATED if truncated else ResultCode.TOO_MANY_CALLS))
            elif len(found) == MOST_SEARCHES:
                message = f"a turn may make {MOST_SEARCHES} searches"
                results.append(ToolResult(name=SEARCH, code=ResultCode.TOO_MANY_CALLS, message=message))
            else:
                found.append(search(self.memory, call, share))
                results.append(found[-1])
        for call in beyond:
            message = f"a step may make {self._max_calls} calls"
            results.append(ToolResult(name=call.name, code=ResultCode.TOO_MANY_CALLS, message=message))
        if found:
            return StepResult(done, beyond, results, [], self.memory.token_count(), told(found))
        changes = self._journal.diff()
        self.close()
        self.position += 1
        return StepResult(done, beyond, results, changes, self.memory.token_count())

    def close(self) -> None:
        """Leave a step that was begun; what it has done stays."""
        self._open.close()
        self._journal, self._turn, self._made = None, 0, 0

    def _turns_of_example(self) -> list[dict[str, str]]:
        text, calls = self.memory.example
        return [
            {"role": "user", "content": _page("# Memory (0% full, 0 hidden)", text, None)},
            {"role": "assistant", "content": self._dialect.format(calls)},
        ]

    def _current(self) -> Chunk | None:
        """The chunk that is read; None: the memory is tidied."""
        planned = self.planned
        return None if planned.tidies else self.stream.chunks[planned.chunk]


def _page(memory: str, text: str, time: str | None) -> str:
    heading = f"# Text ({time})" if time else "# Text"
    return f"{memory}\n{heading}\n{text}"


def _tidying(memory: str) -> str:
    return f"{memory}\n# No text\n{TIDY}"
