"""Completions held to the grammar of their calls: what it lets through, and that engine and learner mean the same."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from memrl import MemoryAgent
from memrl.config import Config
from memrl.engines.build import build_engine, open_guide
from memrl.engines.engine import Sampling
from memrl.engines.guide import Guide, held_to, with_marks
from memrl.engines.models import end_ids, load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.envs.designs import DESIGNS
from memrl.envs.dialects import DIALECTS
from memrl.envs.dialects.guided import Guided
from memrl.envs.tools import ResultCode, ToolCall, check_arguments
from memrl.errors import ConfigError
from memrl.export import export
from memrl.learner.build import build_learner
from memrl.policies.exported import open_exported
from memrl.records import Completion, Sample
from memrl.training.trainer import Trainer
from tests.support import quiet, rows, small_config

JSON = ("hermes", "hermes_content_first", "llama_json", "mistral")
SHIPPED = ("stores", "ledger", "typed", "linked", "triples", "sql", "text", "pages", "hierarchy", "compact_verbatim")


def byte_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """A token a byte, and an end of the turn; special tokens besides."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


BYTES = byte_tokenizer()


def allowed(bits: Any) -> list[int]:
    return [token for token in range(32 * len(bits)) if (int(bits[token // 32]) >> (token % 32)) & 1]


def refused(guide: Guide, ids: list[int]) -> int | None:
    """The place of the first id that the grammar does not let through."""
    course = guide.begin()
    for place, token in enumerate(ids):
        if token not in allowed(course.next()):
            return place
        course.advance(token)
    return None


def guide_of(dialect: str, design: str = "stores", max_calls: int = 4) -> Guide:
    written = DIALECTS.get(dialect)()
    assert isinstance(written, Guided)
    return Guide(BYTES, written.grammar(DESIGNS.get(design)(500, 100, len).tools, max_calls))


@pytest.fixture(scope="module")
def guides() -> dict[str, Guide]:
    return {dialect: guide_of(dialect) for dialect in JSON}


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
CALLS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: ("memory_insert", {"memory_type": "semantic", "content": text})),
        TEXTS.map(lambda text: ("memory_update", {"memory_id": "sem_0001", "content": text})),
        TEXTS.map(lambda text: ("memory_delete", {"memory_id": text})),
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(CALLS, st.sampled_from(JSON))
def test_what_a_dialect_writes_passes(
    guides: dict[str, Guide], calls: list[tuple[str, dict[str, str]]], name: str
) -> None:
    text = DIALECTS.get(name)().format([ToolCall(name=tool, arguments=given) for tool, given in calls])
    ids = [*BYTES.encode(text, add_special_tokens=False), BYTES.eos_token_id]
    place = refused(guides[name], ids)
    assert place is None, f"{BYTES.decode(ids[:place])!r} may not be followed by {BYTES.decode(ids[place:])!r}"


@pytest.mark.parametrize(
    ("dialect", "design"), [*itertools.product(JSON, ("stores",)), *(("hermes", design) for design in SHIPPED[1:])]
)
def test_what_passes_can_be_carried_out(dialect: str, design: str) -> None:
    """Walks by chance, which end where they may: each call is one of the tools, with its arguments."""
    guide, tools = guide_of(dialect, design, max_calls=2), DESIGNS.get(design)(500, 100, len).tools
    schemas = {tool.name: tool for tool in tools}
    chance = random.Random(0)
    for _ in range(5):
        course = guide.begin()
        ids: list[int] = []
        while BYTES.eos_token_id not in ids and len(ids) < 3000:
            ways = [token for token in allowed(course.next()) if ids or token != BYTES.eos_token_id]
            if chance.random() < 0.5 and BYTES.encode('"')[0] in ways:  # else texts would have no end
                ways = BYTES.encode('"')
            ids.append(chance.choice(ways))
            course.advance(ids[-1])
        calls = DIALECTS.get(dialect)().parse(BYTES.decode(ids[:-1]))
        assert 1 <= len(calls) <= 2
        for call in calls:
            assert call.error is None and check_arguments(schemas[call.name], call.arguments) is None, call


def test_a_mark_that_is_one_token_is_that_token() -> None:
    tokenizer = byte_tokenizer("[TOOL_CALLS]", "<tool_call>")
    grammar = 'start: ("[TOOL_CALLS] [" call "]")?\ncall: %json {"const": "<tool_call>"}\n'
    mark = tokenizer.convert_tokens_to_ids("[TOOL_CALLS]")
    assert with_marks(grammar, tokenizer) == grammar.replace('"[TOOL_CALLS] ["', f'<[{mark}]> " ["')
    written = DIALECTS.get("mistral")()
    assert isinstance(written, Guided)
    guide = Guide(tokenizer, written.grammar(DESIGNS.get("stores")(500, 100, len).tools, 2))
    text = written.format([ToolCall(name="memory_delete", arguments={"memory_id": "sem_0001"})])
    assert refused(guide, [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]) is None
    spelt = BYTES.encode(text, add_special_tokens=False)
    assert refused(guide, spelt) == 0


def test_all_other_ids_have_no_chance_and_what_was_sampled_has_a_number() -> None:
    guide = guide_of("hermes")
    bits = guide.along(BYTES.encode("x", add_special_tokens=False))
    logits = torch.zeros(1, len(BYTES) + 40)  # an embedding with rows that no token has
    chances = held_to(logits, torch.from_numpy(bits)).softmax(-1)[0]
    assert [token for token, chance in enumerate(chances.tolist()) if chance] == sorted(
        {BYTES.encode("<")[0], BYTES.encode("x")[0], BYTES.eos_token_id}
    )


# Engine and learner -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A model that has learned nothing, and writes no call by itself."""
    changes = {"rollout.guided": "json", "rollout.max_completion_tokens": 160, "memory.max_calls": 2}
    return small_config(quick_model, tmp_path_factory.mktemp("guided"), changes)


def sample(config: Config, *sampling: Sampling) -> list[Completion]:
    tokenizer = load_tokenizer(config.model)
    engine = build_engine(config, end_ids(config.model, tokenizer))
    prompt = tokenizer.encode("Kira lives in Oslo.")

    async def all_of() -> list[Completion]:
        return await asyncio.gather(*(engine.generate(prompt, each) for each in sampling))

    return asyncio.run(all_of())


@pytest.mark.parametrize("shared", [True, False])
def test_the_learner_learns_under_what_was_sampled_from(config: Config, shared: bool) -> None:
    """By both decoders, beside requests that are held to nothing; greedy ones and cut ones too."""
    config.rollout.share_prefixes = shared
    heat = config.rollout.temperature
    held = [Sampling(160, heat, seed, guided=True) for seed in range(6)]
    completions = sample(config, *held, Sampling(160, 0.0, 0, guided=True), Sampling(40, heat, 0))
    tokenizer = load_tokenizer(config.model)
    prompter = open_prompter(tokenizer, config.rollout.dialect)
    for completion in completions[:7]:
        calls = prompter.dialect.parse(prompter.decode(completion.ids), truncated=completion.stop == "length")
        assert all(call.error is None for call in calls[: -1 if completion.stop == "length" else None])
    free = prompter.dialect.parse(prompter.decode(completions[7].ids))
    assert not free or free[0].error is not None, "the model writes calls by itself, and shows nothing"
    prompt = tokenizer.encode("Kira lives in Oslo.")
    samples = [Sample(prompt, one.ids, one.logprobs, 1.0, 0) for one in completions[:6]]
    learner = build_learner(config, 1)
    for one, scored in zip(samples, learner.logprobs(samples), strict=True):
        assert one.logprobs == pytest.approx(scored, abs=1e-4)
    own = learner.logprobs(samples, temperature=heat)
    assert max(sum(one) - sum(two.logprobs) for one, two in zip(own, samples, strict=True)) < -1.0
    figures = learner.step(
        [Sample(prompt, s.completion_ids, s.logprobs, (-1.0) ** n, 0) for n, s in enumerate(samples)]
    )
    assert figures["loss/sampling_gap"] < 1e-5 and figures["loss/grad_norm"] > 0


def test_a_run_makes_nothing_but_calls_and_passes_its_canary(config: Config, tmp_path: Path) -> None:
    config = deepcopy(config)
    config.run.dir = str(tmp_path / "run")
    config.train.steps = 2
    Trainer(config, name="guided", resume=False, console=quiet()).run()
    for row in rows(tmp_path / "run")[1:]:
        assert row["canary/gap"] < 1e-4 and row.get("loss/sampling_gap", 0.0) < 1e-5
        assert row["tools/calls_per_step"] > 0
        assert not row.keys() & {"tools/malformed", "tools/unknown_tool", "tools/bad_arguments"}


def test_an_exported_policy_is_guided_as_it_was_trained(config: Config, tmp_path: Path) -> None:
    config = deepcopy(config)
    config.run.dir = str(tmp_path / "run")
    config.train.steps = 1
    Trainer(config, name="guided", resume=False, console=quiet()).run()
    export(tmp_path / "run", tmp_path / "exported")
    assert open_exported(tmp_path / "exported").config.rollout.guided == "json"
    with MemoryAgent.open(tmp_path / "exported", store=tmp_path / "memory.sqlite", device="cpu") as agent:
        found = [result for _ in range(3) for result in agent.read("Kira lives in Oslo.")]
    unread = {ResultCode.MALFORMED, ResultCode.UNKNOWN_TOOL, ResultCode.BAD_ARGUMENTS}
    assert not unread & {result.code for result in found}


# What cannot be guided --------------------------------------------------------------------------------------------


def test_a_dialect_without_json_is_refused(config: Config) -> None:
    config = deepcopy(config)
    config.rollout.dialect = "glm"
    with pytest.raises(ConfigError, match=r"the calls of rollout\.dialect=glm are no JSON. Use rollout\.guided=off"):
        open_guide(config)


def test_without_llguidance_the_extra_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ConfigError, match=r"rollout\.guided=json: .*pip install 'memrl\[guided\]'"):
        open_guide(config)


def test_a_tokenizer_that_is_no_fast_one_is_refused() -> None:
    slow = SimpleNamespace(name_or_path="slow", added_tokens_decoder={})
    with pytest.raises(ConfigError, match="the tokenizer of 'slow' is no fast one"):
        Guide(slow, 'start: "a"\n')
