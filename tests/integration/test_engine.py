"""The engine contract. Every engine passes these tests: the one on transformers here, vLLM's in `make test-vllm`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BambaConfig,
    DeepseekV3Config,
    FalconConfig,
    MistralConfig,
    OPTConfig,
)

from memrl.engines.engine import Engine, Place, Sampling
from memrl.engines.transformers_engine import TransformersEngine
from memrl.engines.vllm_engine import VllmEngine
from memrl.errors import EngineError
from memrl.learner.build import build_learner
from memrl.learner.learner import Learner
from memrl.records import AdapterRef, Completion, Sample
from tests.support import perturb, small_config, unload_all

MakeEngine = Callable[..., Engine]
END = 2
PROMPT = [1, 30, 40, 50, 60, 70]
PROMPTS = [[1, *range(20, 20 + length)] for length in (3, 17, 40, 8, 1, 25)]


def transformers_engine(model: Path, *, end: tuple[int, ...] = (END,), **options: Any) -> TransformersEngine:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return TransformersEngine(base, end, **options)


@pytest.fixture(params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def make_engine(request: pytest.FixtureRequest, plain_model: Path) -> Iterator[MakeEngine]:
    if request.param == "transformers":
        yield lambda **options: transformers_engine(plain_model, **options)
        return
    vllm = request.getfixturevalue("plain_vllm")
    made: list[Any] = []

    def make(*, end: tuple[int, ...] = (END,), keep_versions: int = 2, max_batch: int = 64) -> Engine:
        made.append(VllmEngine(vllm, end, keep_versions=keep_versions))
        return made[-1]  # type: ignore[no-any-return]

    yield make
    for engine in made:
        run(unload_all(engine))


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine()


@pytest.fixture(scope="module")
def learner(plain_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Learner:
    config = small_config(plain_model, tmp_path_factory.mktemp("learner"))
    return build_learner(config, 10)


@pytest.fixture(scope="module")
def adapters(learner: Learner, tmp_path_factory: pytest.TempPathFactory) -> list[AdapterRef]:
    """Three adapters that differ; the learner is left as the last one."""
    folder = tmp_path_factory.mktemp("adapters")
    refs = []
    for version in range(3):
        learner.version = version
        if version:
            perturb(learner.peft_model, version)
        refs.append(learner.publish(folder))
    return refs


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def sample(tokens: int = 12, *, seed: int = 0, temperature: float = 1.0) -> Sampling:
    return Sampling(tokens, temperature, seed)


async def together(engine: Engine, prompts: list[list[int]], ref: AdapterRef | None = None, **how: Any) -> Any:
    requests = [
        engine.generate(prompt, sample(seed=place, **how), ref, place=Place(0, place))
        for place, prompt in enumerate(prompts)
    ]
    return await asyncio.gather(*requests)


def close(first: list[float], second: list[float], bound: float) -> bool:
    return max(abs(a - b) for a, b in zip(first, second, strict=True)) < bound


# Sampling -----------------------------------------------------------------------------------------------------------


def test_ids_come_with_their_logprobs_and_a_stop_reason(make_engine: MakeEngine) -> None:
    engine = make_engine(end=tuple(range(0, 900)))  # most of the vocabulary ends a turn
    completions: list[Completion] = run(together(engine, PROMPTS, tokens=3))
    reasons = {completion.stop for completion in completions}
    for completion in completions:
        assert len(completion.ids) == len(completion.logprobs) <= 3
        assert all(logprob <= 0 for logprob in completion.logprobs)
        assert (completion.ids[-1] < 900) == (completion.stop == "stop")  # the end-of-turn id is among the ids
        assert all(token >= 900 for token in completion.ids[:-1])
        assert completion.version is None
    assert "stop" in reasons
    never = run(make_engine(end=()).generate(PROMPT, sample(5)))
    assert (len(never.ids), never.stop) == (5, "length")


def test_the_seed_decides(engine: Engine) -> None:
    first, again, other = (run(engine.generate(PROMPT, sample(seed=seed))) for seed in (1, 1, 2))
    assert first == again
    assert first.ids != other.ids


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_a_batch_changes_nothing_for_its_members(
    engine: Engine, adapters: list[AdapterRef], temperature: float
) -> None:
    run(engine.load_adapter(adapters[1]))
    batched = run(together(engine, PROMPTS, adapters[1], temperature=temperature))
    for place, prompt in enumerate(PROMPTS):
        alone = run(engine.generate(prompt, sample(seed=place, temperature=temperature), adapters[1]))
        assert alone.ids == batched[place].ids
        assert close(alone.logprobs, batched[place].logprobs, 1e-4)


def test_greedy_takes_the_likeliest_whatever_the_seed(engine: Engine, plain_model: Path) -> None:
    first, second = (run(engine.generate(PROMPT, sample(4, seed=seed, temperature=0.0))) for seed in (1, 2))
    assert first == second
    model = AutoModelForCausalLM.from_pretrained(plain_model, dtype=torch.float32)
    ids = list(PROMPT)
    for token, logprob in zip(first.ids, first.logprobs, strict=True):
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].detach(), -1)
        assert token == int(logprobs.argmax())
        assert logprob == pytest.approx(float(logprobs.max()), abs=1e-4)  # of the unscaled distribution
        ids.append(token)


def test_draws_follow_the_distribution(engine: Engine, plain_model: Path) -> None:
    """Inverse-transform sampling by hand is easily off by one; 600 draws would show it."""
    model = AutoModelForCausalLM.from_pretrained(plain_model, dtype=torch.float32)
    # Sharpened until a few tokens have most of the mass.
    probabilities = torch.softmax(model(torch.tensor([PROMPT])).logits[0, -1].detach() / 0.05, -1)

    async def many() -> list[Completion]:
        how = [sample(1, seed=seed, temperature=0.05) for seed in range(600)]
        return list(await asyncio.gather(*(engine.generate(PROMPT, each) for each in how)))

    drawn = torch.bincount(torch.tensor([c.ids[0] for c in run(many())]), minlength=len(probabilities)) / 600
    top = probabilities.topk(5).indices
    assert probabilities[top].sum() > 0.2
    # Three standard errors of a share.
    assert ((drawn - probabilities)[top].abs() < 3 * (probabilities[top] / 600).sqrt() + 1e-3).all()
    assert (probabilities[drawn > 0] > 1e-6).all()


# The learner's log-probs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_logprobs_are_the_learners(
    engine: Engine, learner: Learner, adapters: list[AdapterRef], temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = adapters[2]
    run(engine.load_adapter(ref))
    completions = run(together(engine, PROMPTS, ref, temperature=temperature))
    samples = [Sample(p, c.ids, c.logprobs, 0.0, 2) for p, c in zip(PROMPTS, completions, strict=True)]
    monkeypatch.setattr(learner, "temperature", temperature)
    for one, expected in zip(samples, learner.logprobs(samples), strict=True):
        assert close(one.logprobs, expected, 1e-3)
    for one, expected in zip(samples, learner.logprobs(samples, temperature=1.0), strict=True):
        scored = run(engine.score(one.prompt_ids, one.completion_ids, ref))
        assert close(scored, expected, 1e-3)
    with learner.peft_model.disable_adapter():
        base = learner.logprobs(samples)
    assert not close(samples[0].logprobs, base[0], 1e-2)  # so the adapter mattered


# Adapters -----------------------------------------------------------------------------------------------------------


def test_versions_are_swapped_while_running(
    make_engine: MakeEngine, adapters: list[AdapterRef], plain_model: Path
) -> None:
    engine = make_engine(keep_versions=2, end=())  # so that all completions are of one length
    bare = run(engine.generate(PROMPT, sample(), None))
    texts = []
    for ref in adapters:
        run(engine.load_adapter(ref))
        run(engine.load_adapter(ref))  # a second time is no harm
        completion = run(engine.generate(PROMPT, sample(), ref))
        assert completion.version == ref.version
        texts.append(completion.logprobs)
        base = run(engine.generate(PROMPT, sample(), None))
        assert (base.ids, base.version) == (bare.ids, None)
        assert close(base.logprobs, bare.logprobs, 1e-6)
    assert close(texts[0], bare.logprobs, 1e-6)  # version 0 changes nothing
    assert not close(texts[1], texts[0], 1e-2)
    assert not close(texts[2], texts[1], 1e-2)
    # An unloaded version comes back exactly, next to the newest one; what was loaded first makes room.
    run(engine.load_adapter(adapters[0]))
    with pytest.raises(EngineError, match=r"v00001.*not loaded \(loaded: v00002, v00000\)"):
        run(engine.generate(PROMPT, sample(), adapters[1]))
    run(engine.load_adapter(adapters[1]))
    run(engine.load_adapter(adapters[2]))

    async def mixed() -> list[Completion]:
        return list(await asyncio.gather(*(engine.generate(PROMPT, sample(), ref) for ref in [*adapters[1:], None])))

    one, two, base = run(mixed())
    assert close(one.logprobs, texts[1], 1e-6)
    assert close(two.logprobs, texts[2], 1e-6)
    assert close(base.logprobs, bare.logprobs, 1e-6)


def test_a_version_belongs_to_one_adapter_for_good(
    make_engine: MakeEngine, adapters: list[AdapterRef], tmp_path: Path
) -> None:
    engine = make_engine(keep_versions=1)
    unknown = AdapterRef(9, "v00009", adapters[0].path)
    with pytest.raises(EngineError, match=r"v00009.*not loaded"):
        run(engine.generate(PROMPT, sample(), unknown))
    run(engine.load_adapter(adapters[1]))
    wrong = [
        AdapterRef(1, "other", adapters[2].path),
        AdapterRef(3, "v00001", adapters[2].path),
        AdapterRef(1, "v00001", adapters[2].path),
    ]
    for ref in wrong:
        with pytest.raises(EngineError, match=r"for good|of its own"):
            run(engine.load_adapter(ref))
        with pytest.raises(EngineError, match="not loaded"):
            run(engine.generate(PROMPT, sample(), ref))
    run(engine.load_adapter(adapters[2]))  # version 1 is unloaded now, and still taken
    with pytest.raises(EngineError, match="for good"):
        run(engine.load_adapter(wrong[0]))
    run(engine.load_adapter(adapters[1]))
    assert run(engine.generate(PROMPT, sample(), adapters[1])).version == 1


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("damage", ["bytes", "missing", "no manifest", "no config", "gone"])
def test_a_damaged_adapter_is_refused_and_the_engine_lives_on(
    engine: Engine, adapters: list[AdapterRef], tmp_path: Path, damage: str, first: bool
) -> None:
    folder = tmp_path / "v00002"
    shutil.copytree(adapters[2].path, folder)
    weights = folder / "adapter_model.safetensors"
    match damage:
        case "bytes":
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1  # one bit of one weight: nothing but the manifest can tell
            weights.write_bytes(content)
        case "missing":
            weights.unlink()
        case "no manifest":  # another program's folder, cut short
            (folder / "manifest.json").unlink()
            weights.write_bytes(weights.read_bytes()[:-100])
        case "no config":
            (folder / "manifest.json").unlink()
            (folder / "adapter_config.json").unlink()
        case _:
            shutil.rmtree(folder)
    before = run(engine.generate(PROMPT, sample()))
    if not first:
        run(engine.load_adapter(adapters[1]))
    ref = AdapterRef(2, "v00002", str(folder))
    with pytest.raises(EngineError, match=r"v00002.*(damaged|cannot be loaded)"):
        run(engine.load_adapter(ref))
    assert run(engine.generate(PROMPT, sample())) == before
    run(engine.load_adapter(adapters[2]))  # the right one still gets its version and name
    assert run(engine.generate(PROMPT, sample(), adapters[2])).version == 2


def test_it_sleeps_and_wakes_with_its_adapters(engine: Engine, adapters: list[AdapterRef]) -> None:
    for ref in adapters[1:]:
        run(engine.load_adapter(ref))
    before = [run(engine.score(PROMPT, [7, 8, 9], ref)) for ref in (None, *adapters[1:])]
    run(engine.sleep())
    run(engine.wake())
    after = [run(engine.score(PROMPT, [7, 8, 9], ref)) for ref in (None, *adapters[1:])]
    assert all(close(one, other, 1e-6) for one, other in zip(before, after, strict=True))


# Requests -----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"2046 tokens and 12 new ones do not fit.*204[78]"):
        run(engine.generate([5] * 2046, sample()))
    with pytest.raises(EngineError, match="empty"):
        run(engine.generate([], sample()))
    with pytest.raises(EngineError, match="generation failed"):
        run(engine.generate([10**7], sample()))  # no such token
    assert run(engine.generate(PROMPT, sample())).ids


def test_one_that_gives_up_disturbs_nobody(make_engine: MakeEngine) -> None:
    async def play(engine: Engine, give_up: int | None) -> list[Any]:
        requests = [
            asyncio.ensure_future(engine.generate(prompt, sample(seed=place), place=Place(0, place)))
            for place, prompt in enumerate(PROMPTS)
        ]
        await asyncio.sleep(0)
        if give_up is not None:
            requests[give_up].cancel()
        return await asyncio.gather(*requests, return_exceptions=True)

    whole = run(play(make_engine(max_batch=2), None))
    for give_up in (0, 3):
        left = run(play(make_engine(max_batch=2), give_up))
        assert isinstance(left[give_up], asyncio.CancelledError)
        assert [one.ids for n, one in enumerate(left) if n != give_up] == [
            one.ids for n, one in enumerate(whole) if n != give_up
        ]


def test_an_engine_outlives_a_run_that_was_cut_off(engine: Engine) -> None:
    async def cut_off() -> None:
        await asyncio.wait_for(together(engine, PROMPTS), timeout=0)

    with pytest.raises(TimeoutError):
        run(cut_off())
    assert len(run(together(engine, PROMPTS))) == len(PROMPTS)


def test_short_episodes_do_not_wait_for_long_ones(make_engine: MakeEngine) -> None:
    """Three episodes of 1, 2 and 4 steps, two requests a batch: nobody waits at a common step."""
    engine = make_engine(max_batch=2)
    done: list[tuple[int, int]] = []

    async def episode(number: int, steps: int) -> None:
        for step in range(steps):
            await engine.generate(PROMPT, sample(4), place=Place(0, number, step))
            done.append((number, step))

    async def play() -> None:
        await asyncio.gather(*(episode(number, steps) for number, steps in ((0, 4), (1, 1), (2, 2))))

    run(play())
    assert done.index((1, 0)) < done.index((0, 1))
    assert done.index((2, 1)) < done.index((0, 3))  # it began after episode 1, and still ends before episode 0
    assert len(done) == 7


# The batches of the engine on transformers, which are its own -------------------------------------------------------


def test_an_unforeseen_error_reaches_who_waits(plain_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pump that died of it would leave the request waiting for ever."""
    engine = transformers_engine(plain_model)

    def broken(*_: Any) -> Any:
        raise KeyError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_work", broken)
        with pytest.raises(KeyError, match="a bug"):
            run(asyncio.wait_for(together(engine, PROMPTS), timeout=20))
    assert run(engine.generate(PROMPT, sample())).ids


def test_batches_do_not_depend_on_who_came_first(plain_model: Path) -> None:
    """Law 7: the logical order decides what is generated together, and what joins."""

    def begun(arrival: list[int]) -> list[list[Place]]:
        engine: Any = transformers_engine(plain_model, max_batch=4)
        seen: list[list[Place]] = []
        inner = engine._work

        def work(running: Any, new: list[Any]) -> Any:
            seen.append([request.place for request in new])
            return inner(running, new)

        engine._work = work

        async def play() -> None:
            await asyncio.gather(*(engine.generate(PROMPTS[n], sample(seed=n), place=Place(0, n)) for n in arrival))

        run(play())
        return seen

    places = [Place(0, n) for n in range(6)]
    found = begun([0, 1, 2, 3, 4, 5])
    assert begun([5, 2, 0, 4, 1, 3]) == found
    assert [place for new in found for place in new] == places
    assert found[0] == places[:4]


def made_in_both_ways(folder: Path, requests: list[tuple[list[int], Sampling]], **options: Any) -> list[Any]:
    """The completions of one batch, with prompts read as trees, and one by one."""
    found = []
    for shared in (True, False):
        engine = transformers_engine(folder, share_prefixes=shared, **options)
        asked = [engine.generate(ids, sampling, place=Place(0, n)) for n, (ids, sampling) in enumerate(requests)]
        found.append((run(all_of(asked)), engine.counts))
    return found


async def all_of(asked: list[Any]) -> list[Any]:
    return await asyncio.gather(*asked)


@pytest.mark.parametrize("most", [2, 3, 64])
def test_lines_that_come_and_go_are_sampled_as_if_alone(plain_model: Path, most: int) -> None:
    """Prompts of a common beginning and of none, lengths of all sorts, fewer places than requests."""
    stem = [5, 9, 11, 7, 8, 6, 10, 12, 13, 14]
    prompts = [[*stem, 20 + n] for n in range(4)] + [[*stem * 3, n] for n in (30, 31)] + [[40], [41, 42]]
    requests = [
        (prompt, Sampling(max_tokens=1 + 5 * (n % 4), temperature=0.9 if n % 3 else 0.0, seed=n))
        for n, prompt in enumerate(prompts)
    ]
    (trees, counted), (plain, others) = made_in_both_ways(plain_model, requests, max_batch=most)
    for one, other in zip(trees, plain, strict=True):
        assert (one.ids, one.stop) == (other.ids, other.stop)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert counted.prompt == others.prompt == sum(map(len, prompts))
    assert counted.read < others.read


def test_equal_prompts_are_read_once_and_equal_greedy_requests_decoded_once(plain_model: Path) -> None:
    prompt = [5, 9, 11, 7, 8, 6, 10, 12]
    greedy, heated = Sampling(max_tokens=4, temperature=0.0), [Sampling(4, 1.0, seed) for seed in range(3)]
    for shared in (True, False):
        engine = transformers_engine(plain_model, share_prefixes=shared)
        asked = [engine.generate(prompt, sampling) for sampling in (greedy, greedy, *heated)]
        first, second, *others = run(all_of(asked))
        assert first == second
        assert first is not second
        assert len({tuple(found.ids) for found in others}) > 1
        assert engine.counts.read == 2 * len(prompt)  # once for the greedy ones, once for the others
        assert engine.counts.prompt == 4 * len(prompt)


def test_what_lacks_memory_is_decoded_in_smaller_batches(
    plain_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [([5, 9, n], Sampling(max_tokens=6, temperature=0.1, seed=n)) for n in range(10, 18)]
    [(whole, _), _] = made_in_both_ways(plain_model, requests)
    engine = transformers_engine(plain_model)
    inner = engine._work

    def small(running: Any, new: list[Any]) -> Any:
        if (0 if running is None else len(running.decoder.lines)) + len(new) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return inner(running, new)

    monkeypatch.setattr(engine, "_work", small)
    found = run(all_of([engine.generate(ids, sampling) for ids, sampling in requests]))
    assert [completion.ids for completion in found] == [completion.ids for completion in whole]
    assert engine.max_batch == 2
    assert "rollout.max_batch" in caplog.text


def test_a_batch_holds_no_more_tokens_than_it_may(plain_model: Path) -> None:
    engine: Any = transformers_engine(plain_model, max_batch_tokens=40)
    inner, seen = engine._work, []

    def work(running: Any, new: list[Any]) -> Any:
        found = inner(running, new)
        lines = [] if found is None else found.decoder.lines
        seen.append(len(lines) * max((len(line.prompt_ids) + line.sampling.max_tokens for line in lines), default=0))
        return found

    engine._work = work
    run(all_of([engine.generate([5] * length, Sampling(6, 1.0, length)) for length in (3, 4, 5, 20, 60)]))
    assert sorted(set(seen))[-1] == 66  # alone, as it must
    assert all(held <= 40 for held in seen if held != 66)


def test_adapters_that_are_merged_say_what_those_beside_the_model_say(
    plain_model: Path, adapters: list[AdapterRef]
) -> None:
    found = []
    for merge in (False, True):
        engine = transformers_engine(plain_model, merge=merge)
        before = run(engine.generate(PROMPT, sample()))
        for ref in adapters:
            run(engine.load_adapter(ref))
        kept = adapters[-2:]
        found.append(
            [
                *(run(engine.score(PROMPT, [5, 9, 11], ref)) for ref in [None, *kept]),
                *(run(engine.generate(PROMPT, sample(), ref)).logprobs for ref in kept),
            ]
        )
        assert run(engine.generate(PROMPT, sample())) == before
    for beside, merged in zip(*found, strict=True):
        assert merged == pytest.approx(beside, abs=1e-4)
    assert found[0][1] != pytest.approx(found[0][0], abs=1e-3)


SMALL: dict[str, Any] = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES = {
    # keys and values of other widths; asks how long the cache is; a state that no row can be taken out of; a window
    "deepseek_v3": (
        DeepseekV3Config,
        SMALL
        | {
            "num_key_value_heads": 4,
            "intermediate_size": 48,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "falcon": (FalconConfig, SMALL | {"alibi": False}),
    "opt": (OPTConfig, SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "bamba": (
        BambaConfig,
        SMALL
        | {
            "num_key_value_heads": 2,
            "intermediate_size": 48,
            "attn_layer_indices": [1],
            "mamba_n_heads": 8,
            "mamba_d_head": 8,
            "mamba_d_state": 8,
        },
    ),
    "mistral": (MistralConfig, SMALL | {"num_key_value_heads": 2, "intermediate_size": 48, "sliding_window": 8}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_end_at_different_times_are_those_that_stand_alone(family: str) -> None:
    kind, settings = FAMILIES[family]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(kind(**settings, initializer_range=0.2), dtype=torch.float32)
    engine = TransformersEngine(model, [])
    requests = [([5, 9, 11, 7, 20 + n], Sampling(2 + 3 * n, 1.0, n)) for n in range(4)]
    requests.append((requests[0][0], Sampling(4, 1.0, 9)))
    found = run(asyncio.wait_for(all_of([engine.generate(*request) for request in requests]), timeout=60))
    for request, completion in zip(requests, found, strict=True):
        alone = run(engine.generate(*request))
        assert (completion.ids, completion.stop) == (alone.ids, alone.stop)
        assert completion.logprobs == pytest.approx(alone.logprobs, abs=1e-3)


def test_an_error_between_two_tokens_reaches_who_waits(plain_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = transformers_engine(plain_model)

    def broken(*_: Any) -> Any:
        raise AttributeError("no such rows")

    monkeypatch.setattr("memrl.engines.decoding.TreeDecoder.take_ended", broken)
    with pytest.raises(AttributeError, match="no such rows"):
        run(asyncio.wait_for(together(engine, PROMPTS), timeout=20))


def test_a_cache_does_not_grow_with_the_queue(plain_model: Path) -> None:
    engine: Any = transformers_engine(plain_model, max_batch=16)
    held, inner = [0], engine._work

    def work(running: Any, new: list[Any]) -> Any:
        found = inner(running, new)
        if found is not None and found.decoder.lines:
            held.append(found.decoder._cache.layers[0]._held[0].shape[2])
        return found

    engine._work = work
    run(all_of([engine.generate([5, 9, 11, 20 + n % 60], Sampling(5 + n % 40, 1.0, n)) for n in range(200)]))
    assert max(held) < 4 + 45 + 2 * 32


def test_who_waits_long_enough_has_their_turn(plain_model: Path) -> None:
    """Sessions that ask again and again do not keep another kind of request waiting for ever."""
    engine = transformers_engine(plain_model, max_batch=2)
    answered: list[str] = []

    async def session(number: int) -> None:
        for turn in range(40):
            await engine.generate(PROMPT, sample(2, seed=100 * number + turn))
            answered.append("session")

    async def question() -> None:
        await engine.generate(PROMPT, sample(2, temperature=0.0), place=Place(0, 9))
        answered.append("question")

    async def play() -> None:
        await asyncio.gather(session(0), session(1), session(2), question())

    run(play())
    assert answered.index("question") < 30
