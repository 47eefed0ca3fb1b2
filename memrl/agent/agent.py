"""MemoryAgent: a trained policy in somebody's own program. It reads, remembers, and answers from what it remembers.

    from memrl import MemoryAgent

    with MemoryAgent.open("exported/tiny", store="memory.sqlite", user="ann") as agent:
        agent.read("I have moved to Lisbon.", time="2 May")
        print(agent.ask("Where do I live?").text)

or in the words of other libraries of memories: `add`, `search`, `get`, `get_all`, `update`, `delete`, `history`.

The memory is a `MemoryFile`: it outlives the program, several processes may share it, and users never see each other's.
Invariant: the model is asked in one event loop alone, and the file never used in it: whoever waits for a file that
another process holds keeps nobody else from reading, asking or writing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import TypeAdapter

from memrl.agent.history import Change, History
from memrl.agent.loaded import LoadedPolicy, Said
from memrl.agent.memory_file import LONGEST_WHY, MemoryFile, ReadStep
from memrl.agent.once import Once, once
from memrl.agent.progress import Progress
from memrl.agent.retrieval import set_retrieval
from memrl.agent.said import Message, said
from memrl.agent.stored import Filters, Metadata, StoredItem, metadata_text
from memrl.agent.twins import Twin
from memrl.agent.users import Users
from memrl.config import MemoryConfig
from memrl.config.registries import ENGINES
from memrl.engines.endpoint_engine import Served
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import Prompter, open_prompter
from memrl.envs.designs import DESIGNS, MemoryItem, MemoryView
from memrl.envs.memory_env import StepResult
from memrl.envs.tools import ToolCall, ToolResult, ToolSchema, clean_text
from memrl.envs.wrappers import open_design
from memrl.envs.wrappers.guard import Apart
from memrl.errors import ConfigError, DataError, PluginError
from memrl.frozen.reader import Answer
from memrl.policies.exported import open_exported

WHO = "agent"
CUT = " [...]"
"""The end of a reason that is longer than the history holds."""
_RESULTS = TypeAdapter(list[ToolResult])


class MemoryAgent:
    """Reads texts into one user's memory and answers from it. `open` makes one, `for_user` another of the same model.

    An adapter's agent answers by the base model, as in training; that of a merged model by the policy itself, since
    there is no other. Methods have async twins (`aread`, `aask`, `aadd`, ...). Any thread may call any method; texts of
    one agent are read one after another.

    `user=` names another user of the same file for one call; without it, all is of the user that the agent was opened
    for. `key=` names a request that is carried out once: asked for again within a day, also after a crash and by
    another process, it is answered as the first time.
    """

    def __init__(self, policy: LoadedPolicy, file: MemoryFile, *, owns_policy: bool) -> None:
        self._policy = policy
        self._file = file
        self._owns_policy = owns_policy
        self._reading = asyncio.Lock()
        self._users = Users(self)

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
        retrieval: str | None = None,
        retrieval_options: Mapping[str, Any] | None = None,
    ) -> MemoryAgent:
        """An agent of an exported policy (`memrl export`).

        Args:
            policy: the exported folder: an adapter, or a merged model; or `tiny`, the embedded model as it ships.
            store: the memory's file; made where there is none.
            user: whose memory.
            budget: tokens that the memory may hold; None: as in training.
            piece_tokens: of a text read at once, where they fit; None: of the longest chunk in training.
            engine: transformers or vllm, in this process.
            served: a server that has the policy already; instead of an engine here.
            base_model: where the base model of an adapter is, if no longer where it was trained.
            device: auto, cpu or cuda.
            history: how much of it is kept; None: the last 1000 changes of each user.
            retrieval: by which items are found, as `memory.retrieval` of a config; None: as in training.
            retrieval_options: its options; without `retrieval`, in the place of those of the same names in training.

        Raises:
            ConfigError: the folder is no exported policy, its model cannot be loaded, the design of its memory is
                somebody else's and not installed here, or what the retrieval needs is not.
            DataError: the file is no memory file, damaged, or cannot be written; or it holds memories of another design
                than the policy's.
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
        if complaint := DESIGNS.complaint(exported.config.memory.design):
            raise ConfigError(f"{policy}: {complaint}")
        set_retrieval(exported.config.memory, retrieval, retrieval_options or {}, policy)
        try:
            open_design(exported.config.memory.design, exported.config.memory.wrappers)
        except (DataError, PluginError) as error:
            raise ConfigError(f"{policy}: {error}") from error
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

    @property
    def embedded(self) -> bool:
        """True for the embedded model, and for what was trained from it."""
        return self._policy.embedded

    @property
    def budget(self) -> int:
        """The tokens that the memory may hold."""
        return self._file.budget

    @property
    def token_count(self) -> int:
        """The tokens that the memory holds."""
        return self._file.token_count()

    @property
    def user(self) -> str:
        """The user that the agent was opened for."""
        return self._file.user

    def read(
        self,
        text: str,
        *,
        time: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> list[ToolResult]:
        """Read a text and remember what is worth it; what became of each memory operation.

        A text longer than the policy's chunks is read in pieces, cut between lines and sentences; each is one
        transaction.

        Args:
            time: when it was said, as text.
            metadata: of the items that are written.
            key: of the request; one that was cut short goes on where it was.
            progress: called after each piece, in another thread; it must not wait.

        Raises:
            ConfigError: a single sentence is longer than the policy's prompt allows; nothing was changed.
            TooLong: the time, the metadata or the key is; nothing was changed.
            EngineError: the model failed; the pieces before are read.
            StoreBusy, StoreFailed: the file is held, or its disk full; the pieces before are read.
            Erased: the user was erased meanwhile; nothing of the text is remembered.
            KeyReused: the key was given with another request.
            Closed: the agent is closed, or was meanwhile; the pieces before are read.
        """
        return self._policy.wait(self._read(text, time=time, metadata=metadata, key=key, progress=progress))

    def ask(self, question: str) -> Answer:
        """Answer from the memory alone.

        Raises:
            DataError: there is no question.
            EngineError, ReaderError: the model failed.
            Closed: the agent is closed, or was meanwhile.
        """
        return self._policy.wait(self._ask(question))

    def add(
        self,
        messages: str | Message | Sequence[Message],
        *,
        user: str | None = None,
        metadata: Metadata | None = None,
        infer: bool = True,
        time: str | None = None,
        key: str | None = None,
    ) -> list[ToolResult]:
        """Remember what was said: the policy reads it, a line a message with who says it, and decides what to store.

        Args:
            messages: a text, a message (`role`, `content`), or a list of messages. What systems and tools say is left
                out; where nobody else says anything, there is nothing to remember.
            metadata: of the items that are written.
            infer: False keeps each message word for word, by the calls that the memory's design has for it, and asks no
                model; one that has a `time` is an event.

        Raises:
            DataError: the text is empty, or a message has no role.
            MemrlError: whatever `read` raises.
        """
        work = self._add(messages, user=user, metadata=metadata, infer=infer, time=time, key=key)
        return self._policy.wait(work)

    def get(self, item_id: str, *, user: str | None = None) -> StoredItem | None:
        """Return an item, with its metadata and times; None: there is none of that id."""
        with self._of(user) as agent:
            return agent._file.stored(item_id)

    def get_all(
        self,
        *,
        filters: Filters | None = None,
        after: str | None = None,
        limit: int | None = None,
        user: str | None = None,
    ) -> list[StoredItem]:
        """Return items in the order of their ids.

        Args:
            filters: what their metadata must be: a value for each name, or a list of values of which one must fit.
            after: the id after which they begin.
            limit: items at most; None: all.
        """
        found: list[StoredItem] = []
        following = after
        while limit is None or len(found) < limit:
            most = 1000 if limit is None else min(1000, limit - len(found))
            items, following = self.get_page(filters=filters, after=following, limit=most, user=user)
            found += items
            if following is None:
                break
        return found

    def get_page(
        self,
        *,
        filters: Filters | None = None,
        after: str | None = None,
        limit: int = 1000,
        user: str | None = None,
    ) -> tuple[list[StoredItem], str | None]:
        """Return a page of `get_all`, and the id after which the next begins (None: there is none). One of long texts
        has fewer than `limit` items."""
        with self._of(user) as agent:
            return agent._file.stored_page(after, limit, filters)

    def update(
        self,
        item_id: str,
        text: str | None = None,
        *,
        metadata: Metadata | None = None,
        user: str | None = None,
        by: str = "user",
        why: str = "",
        key: str | None = None,
    ) -> ToolResult:
        """Replace an item's text, its metadata (all of them; `{}`: none), or both.

        Returns:
            A result whose code is not `ok` where that could not be: `unknown_id`, `duplicate`, `over_budget`, `empty`,
            or `unknown_tool`: the memory's design has none that could.
        """
        asked = once(key, "update", item_id, text, metadata)
        with self._of(user) as agent:
            return agent._file.revise(item_id, text, metadata=metadata, by=by, why=why, asked=asked)

    def delete(
        self, item_id: str, *, user: str | None = None, by: str = "user", why: str = "", key: str | None = None
    ) -> ToolResult:
        """Delete an item: `undo` brings it back. `erase` removes it for good.

        Returns:
            A result whose code is not `ok` where there is no such item (`unknown_id`), or the memory's design has no
            tool that removes it (`unknown_tool`).
        """
        with self._of(user) as agent:
            return agent._file.drop([item_id], by=by, why=why, asked=once(key, "delete", item_id))[0]

    def execute(
        self,
        calls: Sequence[ToolCall],
        *,
        time: str | None = None,
        by: str = "user",
        why: str = "",
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> list[ToolResult]:
        """Carry out memory operations without asking the policy, in one transaction.

        Args:
            time: stamped on events that name none.
            by: who asks for it, for the history.
            why: the reason, for the history.
            metadata: of the items that are written.

        Raises:
            TooLong: `time`, `by`, `why`, `metadata` or `key` is.
            KeyReused: the key was given with another request.
            StoreBusy, StoreFailed: the file is held, or its disk full; nothing was changed.
        """
        asked = once(key, "execute", [call.model_dump(mode="json") for call in calls], time, metadata) if key else None
        return self._file.execute(calls, time=time, by=by, why=why, metadata=metadata, asked=asked)

    @property
    def apart(self) -> list[Apart]:
        """The writes that the memory's guard keeps apart, as they looked like orders; nobody is shown them."""
        return self._file.apart

    def release(self, name: str, *, by: str = "user", key: str | None = None) -> ToolResult:
        """Let in a write that is kept apart.

        Raises:
            NotOffered: the memory has no guard.
            StoreBusy, StoreFailed: as `execute`.
        """
        return self._file.release(name, by=by, asked=once(key, "release", name))

    def discard(self, name: str, *, by: str = "user") -> bool:
        """Forget a write that is kept apart. Returns whether there was one.

        Raises:
            NotOffered, StoreBusy, StoreFailed: as `release`.
        """
        return self._file.discard(name, by=by)

    def tidy(self) -> list[ToolResult]:
        """Have the policy tidy its memory now: merge, abstract and delete, with nothing to read. One transaction.

        Raises:
            EngineError: the model failed.
            StoreBusy, StoreFailed, Erased, Closed: as `read`.
        """
        return self._policy.wait(self._tidy())

    def search(
        self, query: str, *, limit: int | None = None, filters: Filters | None = None, user: str | None = None
    ) -> MemoryView:
        """Return what the reader would be shown for a question, in the order of writing.

        Args:
            limit: with it or `filters`, the items that match the query, best first, with their metadata; so many at
                most, 10 unless given.
            filters: those alone whose metadata have what it names, as in `get_all`.
        """
        query = clean_text(query)
        with self._of(user) as agent:
            if limit is None and not filters:
                return agent._file.retrieve(query, self._policy.config.memory.retrieve_budget)
            found = tuple(agent._file.best(query, 10 if limit is None else limit, filters))
            return MemoryView(found, 0, found[0] if found else None)

    def delete_all(self, *, user: str | None = None, by: str = "user") -> list[ToolResult]:
        """Delete all items in one transaction; `undo` brings them back. A result for each."""
        with self._of(user) as agent:
            return agent._file.drop([item.id for item in agent._file.items], by=by)

    @property
    def tools(self) -> Sequence[ToolSchema]:
        """The tools by which the policy writes, those of the memory's design: what `execute` takes."""
        return self._file.tools

    @property
    def design(self) -> str:
        """The name of the memory's design."""
        return self._file.design

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

    def history(
        self, item_id: str | None = None, *, after: int = 0, limit: int | None = None, user: str | None = None
    ) -> list[Change]:
        """Every change that is kept, or those of one item: when, who, why (the text that was read), before and after.

        Args:
            after: the `number` of the change after which they begin.
            limit: changes at most; None: all.
        """
        with self._of(user) as agent:
            return agent._file.history(item_id, after=after, limit=limit)

    def history_page(
        self, item_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[list[Change], int | None]:
        """Return what `history` does, and the number after which the next page begins (None: there is none)."""
        return self._file.history_page(item_id, after, limit)

    def undo(self, *, key: str | None = None) -> list[Change]:
        """Take back the newest change that is not undone: what one text did (of a long one: its last piece), or one
        `execute`, `update`, `delete`. Empty where nothing is left."""
        return self._file.undo(by="user", asked=once(key, "undo"))

    def erase(self, item_id: str) -> int:
        """Remove an item for good: from the memory, from the history with the reasons of its changes, and from the
        file's bytes. What said the same earlier goes with it; what other items say now stays.

        Returns:
            How many items and changes are gone; 0 where nothing is known of that item, and no byte is left of an
            erasure that was not finished.

        Raises:
            NotOffered: the memory's design cannot remove it, or holds elsewhere what it said; nothing was erased.
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
        self._users.close()
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

    @contextmanager
    def _of(self, user: str | None) -> Iterator[MemoryAgent]:
        """The agent of a user; None: this one."""
        if user is None or user == self._file.user:
            yield self
        else:
            with self._users.of(user) as agent:
                yield agent

    @asynccontextmanager
    async def _awaited_of(self, user: str | None) -> AsyncIterator[MemoryAgent]:
        if user is None or user == self._file.user:
            yield self
        else:
            async with self._users.awaited(user) as agent:
                yield agent

    async def _add(
        self,
        messages: str | Message | Sequence[Message],
        *,
        user: str | None = None,
        metadata: Metadata | None = None,
        infer: bool = True,
        time: str | None = None,
        key: str | None = None,
    ) -> list[ToolResult]:
        lines = said(messages)
        if not lines:
            return []
        async with self._awaited_of(user) as agent:
            if infer:
                return await agent._read("\n".join(lines), time=time, metadata=metadata, key=key)
            asked = once(key, "add", lines, time, metadata)
            write = partial(agent._file.keep, lines, event=time is not None, time=time, by="user")
            return await self._policy.write(partial(write, metadata=metadata, asked=asked))

    async def _read(
        self,
        text: str,
        *,
        time: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> list[ToolResult]:
        policy, file = self._policy, self._file
        asked = once(key, "read", text, time, metadata)
        if metadata is not None:
            metadata_text(metadata)  # before a model is asked
        text, time = clean_text(text), None if time is None else clean_text(time)
        async with self._reading:
            pieces = await policy.cut(text, time)
            life = await policy.write(file.begin)
            results: list[ToolResult] = []
            for number, piece in enumerate(pieces, 1):
                part = None if asked is None else asked.part(number, piece)
                done = None if part is None else await self._answered(part)
                if done is None:
                    prompt = await policy.look(self._prompt, piece, time)
                    play = partial(self._tried, piece, time)
                    calls, tried = await policy.calls(prompt, [tool.name for tool in file.tools], play)
                    why = piece if len(piece) <= LONGEST_WHY else piece[: LONGEST_WHY - len(CUT)] + CUT
                    write = partial(file.execute, calls, time=time, by=WHO, why=why, life=life)
                    write = partial(write, step=ReadStep(piece), tried=tried)
                    done = await policy.write(partial(write, metadata=metadata, asked=part))
                    if file.tidies and await policy.look(file.tidying_due):
                        done = [*done, *await self._tidied(life)]
                results += done
                if progress is not None:
                    progress(Progress(number, len(pieces), done))
            return results

    async def _tidy(self) -> list[ToolResult]:
        async with self._reading:
            return await self._tidied(await self._policy.write(self._file.begin))

    async def _tidied(self, life: int) -> list[ToolResult]:
        """Tidy the memory.

        Args:
            life: of the user.
        """
        file = self._file
        prompt = await self._policy.look(self._tidying_prompt)
        play = partial(self._tried, None, None)
        calls, tried = await self._policy.calls(prompt, [tool.name for tool in file.tools], play)
        write = partial(file.execute, calls, by=WHO, why="tidying", life=life, step=ReadStep(None), tried=tried)
        return await self._policy.write(write)

    def _tidying_prompt(self) -> list[int]:
        with self._file.reading() as memory:
            return self._policy.tidying(memory)

    async def _answered(self, asked: Once) -> list[ToolResult] | None:
        """Return the results of what was done already under a key."""
        reply = await self._policy.look(self._file.replied, asked)
        return None if reply is None else _RESULTS.validate_json(reply)

    def _prompt(self, piece: str, time: str | None) -> list[int]:
        """Return what the policy is shown of a text."""
        with self._file.reading() as memory:
            return self._policy.prompt(piece, time, memory)

    def _tried(self, piece: str | None, time: str | None, said: Said) -> StepResult:
        """Return what comes of what the policy has said about a text, or to tidy (None); the memory stays as it is."""
        with self._file.reading() as memory:
            return self._policy.try_turns(piece, time, memory, said)

    async def _ask(self, question: str) -> Answer:
        if not question.strip():
            raise DataError("the question is empty.")
        question = clean_text(question)
        view = await self._policy.look(self._file.retrieve, question, self._policy.config.memory.retrieve_budget)
        return await self._policy.answer(question, view)

    aread = Twin(_read)
    aask = Twin(_ask)
    aadd = Twin(_add)
    asearch = Twin(search)
    aget = Twin(get)
    aget_all = Twin(get_all)
    aget_page = Twin(get_page)
    aupdate = Twin(update, writes=True)
    adelete = Twin(delete, writes=True)
    adelete_all = Twin(delete_all, writes=True)
    aexecute = Twin(execute, writes=True)
    ahistory = Twin(history)
    aundo = Twin(undo, writes=True)
    arelease = Twin(release, writes=True)
    adiscard = Twin(discard, writes=True)
    atidy = Twin(_tidy)
    aerase = Twin(erase, writes=True)
    aerase_user = Twin(erase_user, writes=True)


def _open_file(
    config: MemoryConfig, prompter: Prompter, store: Path | str, user: str, history: History | None
) -> MemoryFile:
    return MemoryFile(
        store,
        user,
        design=config.design,
        retrieval=config.retrieval,
        retrieval_options=config.retrieval_options,
        wrappers=config.wrappers,
        budget=config.budget,
        core_budget=config.core_budget,
        count_tokens=prompter.count_tokens,
        history=history,
    )
