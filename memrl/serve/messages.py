"""Messages in and out: bodies of the REST API, some of which are the arguments of MCP tools too."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StringConstraints,
)

from memrl.agent.history import Change
from memrl.agent.memory_file import LONGEST_WHY
from memrl.agent.once import LONGEST_KEY
from memrl.agent.stored import LONGEST_METADATA, StoredItem, metadata_text
from memrl.envs.designs import MemoryItem
from memrl.envs.tools import ToolResult, clean_text
from memrl.errors import (
    Closed,
    ConfigError,
    DataError,
    Erased,
    KeyReused,
    MemrlError,
    NotOffered,
    PromptTooLong,
    StoreBusy,
    StoreFailed,
    TooLong,
)
from memrl.serve.limits import Busy

log = logging.getLogger(__name__)
MOST_OPERATIONS = 256
MOST_OF_A_PAGE = 1000
LONGEST_COMPLAINT = 2000


def _clean(value: Any) -> Any:
    """JSON can spell lone surrogates, which no file, tokenizer or reply takes."""
    return clean_text(value) if isinstance(value, str) else value


def _bearable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        metadata_text(value)
    except DataError as error:
        raise ValueError(str(error)) from None
    return value


Text = Annotated[str, BeforeValidator(_clean)]
# \x1c to \x1f are white space to Python alone
Said = Annotated[str, BeforeValidator(_clean), StringConstraints(min_length=1, pattern=r"[^\s\x1c-\x1f]")]
Limit = Annotated[int, Field(ge=1, le=MOST_OF_A_PAGE, description="Of a page; one of long texts has fewer.")]
After = Annotated[int, Field(ge=0, le=2**63 - 1, description="`next` of the page before.")]
ITEM = r"[^\s/.][^\s/]{0,199}"
"""An item's id, whatever the memory's design calls its items."""
ItemName = Annotated[str, StringConstraints(pattern=f"^{ITEM}$")]
ToolName = Annotated[Text, StringConstraints(min_length=1, max_length=128)]
KeyText = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_KEY, pattern=r"^[\x21-\x7e]+$")]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_bearable)]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,63}$")]


def complaints(errors: Iterable[Any]) -> str:
    """Return what pydantic found wrong, without what was given: that may be long, or be what no JSON can hold."""
    said = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors)
    return clean_text(said)[:LONGEST_COMPLAINT]


def told(error: MemrlError) -> str:
    """Return what a caller is told of an error: its own words where the caller can do something about it. Any other
    names paths and addresses of this machine, and goes to the log."""
    if isinstance(error, ConfigError | PromptTooLong | TooLong | Erased | KeyReused | NotOffered | Busy):
        return clean_text(str(error))
    if isinstance(error, Closed):
        return "the server is ending. Try again when it runs."
    log.error("%s: %s", type(error).__name__, error)
    if isinstance(error, StoreBusy | StoreFailed) and error.erased:
        return "it is erased from the memory, but its bytes are not yet cleared from the file. Ask for it again."
    if isinstance(error, StoreBusy):
        return "the memory's file is held by another program. Try again in a moment."
    what = "the memory's file cannot be used now" if isinstance(error, StoreFailed | DataError) else "the model failed"
    return f"{what}; the server's log says why. Try again."


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Read(_Given):
    """A text to read."""

    text: Said = Field(description="What was said or written, in any length.")
    time: Text | None = Field(None, description="When it was said, as text.")
    metadata: Metadata | None = Field(None, description="Of the items that are written.")


class ChatMessage(BaseModel):
    """A message as OpenAI's API has it; what else it has is taken too."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[Text, StringConstraints(min_length=1, max_length=64)]
    content: Text | list[JsonValue] | None = None
    name: Text | None = None


Spoken = list[ChatMessage]


class Add(_Given):
    """Something that was said, to remember."""

    messages: Said | Spoken = Field(description="A text, or messages with role and content.")
    metadata: Metadata | None = Field(
        None, description=f"Of the items that are written; up to {LONGEST_METADATA} characters as JSON."
    )
    infer: StrictBool = Field(
        True, description="Whether the policy decides what to store; false: each message, word for word."
    )
    time: Text | None = Field(None, description="When it was said, as text.")

    def spoken(self) -> Any:
        """Return the messages as an agent takes them."""
        return self.messages if isinstance(self.messages, str) else [each.model_dump() for each in self.messages]


class Find(_Given):
    """A query for items, best first."""

    query: Said
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    filters: dict[str, JsonValue] = Field(
        default_factory=dict, description="Names of metadata, and the value of each or a list of which one must fit."
    )


class Revision(_Given):
    """The new text of an item, its metadata, or both; what is not given stays."""

    text: Said | None = None
    metadata: Metadata | None = Field(None, description="In place of all that it bears.")
    why: Text = Field("", description=f"For the history; up to {LONGEST_WHY} characters.")


class Ask(_Given):
    """A question to answer from the memory alone."""

    question: Said


class Search(_Given):
    """A query for the items that match it best."""

    query: Said


class Operation(_Given):
    """One call of a memory tool."""

    name: ToolName = Field(description="One of the memory's own tools: of the design stores memory_insert, ...")
    arguments: dict[str, Text | None] = Field(description="As the tool of that name takes them over MCP.")


class Operations(_Given):
    """Calls that are carried out in one transaction, in this order."""

    operations: list[Operation] = Field(min_length=1, max_length=MOST_OPERATIONS)
    time: Text | None = Field(None, description="Stamped on events that name none.")
    why: Text = Field("", description=f"For the history; up to {LONGEST_WHY} characters.")
    metadata: Metadata | None = Field(None, description="Of the items that are written.")


class Results(BaseModel):
    """The results of operations, one each. One that failed has changed nothing, and its `code` is not `ok`."""

    results: list[ToolResult]


class Items(BaseModel):
    items: tuple[MemoryItem, ...]


class ItemsPage(BaseModel):
    """A page of items in the order of their ids."""

    items: list[MemoryItem]
    next: str | None = Field(description="Give it as `after` for the next page; null: there is none.")


class StoredItems(BaseModel):
    items: list[StoredItem]


class StoredPage(BaseModel):
    """A page of items in the order of their ids."""

    items: list[StoredItem]
    next: str | None = Field(description="Give it as `after` for the next page; null: there is none.")


class Deletion(BaseModel):
    id: str
    erased: int = Field(description="Items and changes that are gone for good; 0: undo brings it back.")


class ChangesPage(BaseModel):
    """A page of changes, oldest first."""

    changes: list[Change]
    next: int | None = Field(description="Give it as `after` for the next page; null: there is none.")


class Erasure(BaseModel):
    erased: int = Field(description="Items and changes that are gone.")


class Changes(BaseModel):
    changes: list[Change]


class Health(BaseModel):
    status: str = "ok"
    version: str


class Refusal(BaseModel):
    """The reason why a request was not carried out."""

    error: str
