"""The estimate of a dry run, against figures worked out by hand."""

import json
from pathlib import Path

import pytest

from memrl.config import Config, load_config
from memrl.data.feed import StreamFeed
from memrl.training.cost import StreamStats, count_evaluations, estimate, measure, model_shape
from memrl.training.footprint import CARDS, footprint, hours, lacking

STATS = StreamStats(streams=8, chunks=5, questions=10, chunk_tokens=100, longest_chunk_tokens=200)


def config(**model: object) -> Config:
    made = Config()
    made.train.steps, made.train.group_size, made.train.streams_per_step = 10, 4, 2
    made.eval.streams, made.eval.every = 3, 5
    made.model.path = "no/shape"
    for key, value in model.items():
        setattr(made.model, key, value)
    return made


def test_steps_episodes_and_calls_multiply_out() -> None:
    result = estimate(config(), STATS)
    assert result["per_step"]["episodes"] == 8
    assert result["per_step"]["completions"] == 40
    assert result["per_step"]["prompt_tokens"] == 40 * (400 + 1024 + 100)
    assert result["per_step"]["reader_calls"] == 80
    assert result["run"]["evaluations"] == 3
    assert result["run"]["episodes"] == 10 * 8 + 3 * 3
    assert result["run"]["optimizer_steps"] == 10
    assert result["run"]["learner_tokens"] == 10 * 40 * (400 + 1024 + 100 + 2048)
    assert json.loads(json.dumps(result)) == result


def test_a_lexical_reader_calls_no_model() -> None:
    made = config()
    made.reader.type = "lexical"
    assert estimate(made, STATS)["run"]["reader_calls"] == 0


def test_an_endpoints_calls_are_counted_and_named() -> None:
    made = config()
    made.reader.type = "endpoint"
    made.reader.endpoint.url, made.reader.endpoint.model = "http://host/v1", "big"
    result = estimate(made, STATS)
    assert result["per_step"]["reader_calls"] == 80
    assert "reader calls are requests to big at http://host/v1; an answer that is in the" in "\n".join(result["notes"])


def test_rerolls_are_completions_and_samples() -> None:
    made = config()
    made.advantage.mode, made.advantage.rerolls, made.advantage.reroll_steps = "reroll", 3, 2
    result, plain = estimate(made, STATS), estimate(config(), STATS)
    assert result["per_step"]["completions"] == 40 + 8 * 2 * 3
    assert result["per_step"]["learner_tokens"] == (40 + 48) * (400 + 1024 + 100 + 2048)
    assert result["run"]["completions"] - plain["run"]["completions"] == 10 * 48  # evaluations are not re-rolled
    assert "they ask up to 480 questions again in a step" in "\n".join(result["notes"])
    made.advantage.reroll_steps = None
    assert estimate(made, STATS)["per_step"]["completions"] == 40 + 8 * 5 * 3
    made.rewards.content, plain = "judge", config()
    plain.rewards.content = "judge"
    judged, before = (estimate(one, STATS)["per_step"]["judge_calls"] for one in (made, plain))
    assert judged == before * (1 + 3)  # every step's texts, and those of its three re-rolls


def test_a_chunk_that_does_not_fit_the_prompt_is_warned_of() -> None:
    made = config()
    made.rollout.max_prompt_tokens = 1100
    assert any(note.startswith("WARNING") for note in estimate(made, STATS)["notes"])


@pytest.mark.parametrize(
    ("steps", "every", "count"), [(0, 10, 1), (1, 10, 2), (10, 10, 2), (11, 10, 3), (20, 0, 2), (3, 1, 4)]
)
def test_evaluations_are_counted(steps: int, every: int, count: int) -> None:
    assert count_evaluations(steps, every) == count


def test_known_models_have_their_published_size() -> None:
    for name, billions in (("Qwen/Qwen3-0.6B", 0.596), ("Qwen/Qwen3-1.7B", 1.720), ("Qwen/Qwen3-4B", 4.022)):
        made = config(path=name, dtype="bfloat16")
        shape = model_shape(name)
        assert shape is not None
        found = footprint(made, shape)
        assert found.parameters / 1e9 == pytest.approx(billions, abs=0.001)
        assert found.engine["weights"] == pytest.approx(found.parameters * 2 / 2**30)


@pytest.mark.parametrize(
    ("name", "tokens", "recomputed", "peak"),
    [
        ("Qwen/Qwen3-0.6B", 16384, True, 4.1),
        ("Qwen/Qwen3-0.6B", 8192, False, 22.4),
        ("Qwen/Qwen3-4B", 16384, True, 15.7),
        ("Qwen/Qwen3-4B", 8192, True, 12.3),
    ],
)
def test_the_learners_memory_is_what_was_measured_on_a_gpu(
    name: str, tokens: int, recomputed: bool, peak: float
) -> None:
    """The peaks stand in docs/gpu.md."""
    made = config(path=name, dtype="bfloat16")
    made.model.lora.rank = 32
    made.rollout.max_prompt_tokens, made.rollout.max_completion_tokens = 3072, 1024
    made.train.micro_batch_tokens, made.train.gradient_checkpointing = tokens, recomputed
    shape = model_shape(name)
    assert shape is not None
    assert footprint(made, shape).learner_gib == pytest.approx(peak, rel=0.12)


def test_logits_that_are_never_held_are_not_counted_and_a_cache_is_bounded() -> None:
    made = config(path="Qwen/Qwen3-4B", dtype="bfloat16")
    made.train.micro_batch_tokens = 1 << 20
    shape = model_shape(made.model.path)
    assert shape is not None
    assert footprint(made, shape).learner["logits"] == 1.0
    bound = made.rollout.max_batch_tokens * 36 * 2 * 8 * 128 * 2 / 2**30
    assert footprint(made, shape).engine["kv_cache"] == pytest.approx(bound)


def test_hours_are_those_of_what_is_computed() -> None:
    made = config(path="Qwen/Qwen3-4B", dtype="bfloat16")
    made.rollout.engine = "vllm"
    result = estimate(made, STATS)
    [h100] = [card for card in result["cards"] if card["card"].startswith("H100")]
    assert 0 < h100["hours_short_completions"] < h100["hours_at_most"]
    shape = model_shape(made.model.path)
    assert shape is not None
    found, run = footprint(made, shape), dict.fromkeys(result["run"], 0)
    # The learner's speed is the measured one: 4,679 tokens a second.
    assert hours(made, found, {**run, "learner_tokens": 4679 * 3600}, CARDS[0]) == pytest.approx(1.0, rel=0.1)
    made.train.processes = 4
    assert hours(made, found, {**run, "learner_tokens": 4679 * 3600}, CARDS[0]) == pytest.approx(0.25, rel=0.1)


def test_what_does_not_fit_is_said_with_what_to_change() -> None:
    made = config(path="Qwen/Qwen3-4B", dtype="bfloat16")
    made.rollout.engine, made.vllm.sleep = "vllm", True
    shape = model_shape(made.model.path)
    assert shape is not None
    assert lacking(made, footprint(made, shape), 79.0, "it")[0].endswith(
        "set train.gradient_checkpointing=true or lower the token limits, which one micro-batch must hold or use a "
        "smaller model"
    )
    made.train.gradient_checkpointing = True
    assert lacking(made, footprint(made, shape), 79.0, "it") == []
    assert (
        "vLLM's share of it is 5.1 GiB, the weights alone are 7.5"
        in lacking(made, footprint(made, shape), 6.0, "it")[0]
    )
    made.rollout.max_prompt_tokens = 40000
    made.vllm.gpu_memory_utilization = 0.5
    assert "and one request of 42,048 tokens 5.8" in lacking(made, footprint(made, shape), 22.0, "it")[0]


def test_a_local_folder_is_read(tmp_path: Path) -> None:
    assert model_shape(str(tmp_path)) is None
    shape = {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 10,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(shape))
    result = estimate(config(path=str(tmp_path)), STATS)
    # q, k, v, o: 4 x 64; gate, up, down: 3 x 128; two norms of 8; embeddings 80
    assert result["model"]["parameters"] == 80 + 2 * (4 * 64 + 3 * 128 + 16)
    assert result["model"]["lora_parameters"] == 2 * 16 * (4 * 16 + 3 * 24)


def test_the_shipped_gpu_configs_can_be_estimated() -> None:
    sources = ["data.train=[{source: synthetic}]", "data.eval=[{source: synthetic}]"]
    for name in ("qwen3-4b", "qwen3-0.6b"):
        made = load_config(name, sources, machine=False)
        stats = measure(StreamFeed(made.data.train, None, 0).take(4), made.model.path)
        result = estimate(made, stats)
        assert result["model"] is not None
        assert stats.chunks >= 1


def test_a_judges_calls_are_counted_by_what_it_grades() -> None:
    made = config()
    assert "judge_calls" not in estimate(made, STATS)["per_step"]
    made.judge.type, made.judge.answers, made.judge.votes = "policy-base", {"squad": "default"}, 3
    answers = estimate(made, STATS)
    assert answers["per_step"]["judge_calls"] == 3 * answers["per_step"]["reader_calls"]
    made.rewards.content = "judge"
    both = estimate(made, STATS)
    assert both["per_step"]["judge_calls"] == 3 * (
        both["per_step"]["reader_calls"] + 4 * both["per_step"]["completions"]
    )
    assert "judge calls go to the policy's base model" in "\n".join(both["notes"])


@pytest.mark.parametrize("key", ["num_experts", "num_local_experts", "n_routed_experts"])
def test_a_mixture_of_experts_has_no_estimate_and_it_is_said(key: str, tmp_path: Path) -> None:
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
             "vocab_size": 1000}  # fmt: skip
    made = config(path=str(tmp_path), dtype="bfloat16")
    for more, known in (({key: 8, "num_experts_per_tok": 2}, False), ({key: 1}, True), ({key: None}, True)):
        (tmp_path / "config.json").write_text(json.dumps({**shape, **more}))
        assert (footprint(made, {**shape, **more}) is not None) == known
        result = estimate(made, STATS)
        assert any(f"it has experts ({key})" in note for note in result["notes"]) == (not known)
