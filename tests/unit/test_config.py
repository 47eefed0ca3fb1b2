"""Loading, suggestions, types and conflicts: all complaints at once, each with its remedy."""

import re
from pathlib import Path

import pytest

from memrl.config import Config, check_config, config_name, find_config, load_config, save_config
from memrl.config.check import CHOICES, SCHEDULES, learner_apart
from memrl.config.load import KEYS
from memrl.config.registries import BY_KEY
from memrl.config.tree import values
from memrl.config.usual import USUAL
from memrl.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def good(**changes: object) -> Config:
    """A config without conflicts that needs no file."""
    config = Config()
    config.data.train = [{"source": "synthetic"}]
    config.data.eval = [{"source": "synthetic"}]
    for key, value in changes.items():
        section, _, name = key.partition("__")
        setattr(getattr(config, section), name, value)
    return config


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


SOURCES = "data: {train: [{source: synthetic}], eval: [{source: synthetic}]}\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_is_sound(path: Path) -> None:
    config = load_config(path, check=False)
    assert check_config(config, files=False) == []
    assert config.run.dir == f"runs/{path.stem}"


def test_a_bare_name_finds_a_shipped_config_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("qwen3-4b") == find_config("configs/qwen3-4b.yaml")
    assert config_name("configs/qwen3-4b.yaml") == "qwen3-4b"
    with pytest.raises(ConfigError, match="did you mean 'qwen3-4b'"):
        find_config("qwen3-4bb")


def test_overrides_win_and_are_typed(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCES + "seed: 3\ntrain: {lr: 1e-5, steps: 4}\neval:\n")
    config = load_config(path, ["train.lr=2e-4", "run.dir=null", "data.train[0].chunks=2", "rewards.weights.qa=2"])
    assert config.seed == 3
    assert config.train.lr == 2e-4
    assert config.train.steps == 4
    assert config.run.dir == "runs/mine"
    assert config.data.train == [{"source": "synthetic", "chunks": 2}]
    assert config.rewards.weights == {"qa": 2.0}
    assert type(config.train).__name__ == "TrainConfig"


@pytest.mark.long
def test_a_saved_config_loads_as_the_same(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SOURCES), ["data.path=x", "train.lr=3e-4"])
    save_config(config, tmp_path / "run" / "config.yaml")
    assert load_config(tmp_path / "run" / "config.yaml") == config


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("train.grup_size", "'train.group_size'"),
        ("group_size", "'train.group_size'"),
        ("tran.steps", "'train.steps'"),
        ("lr", "'sft.lr' or 'train.lr'"),
        ("modl", "'model'"),
        ("memory.render_bugdet", "'memory.render_budget'"),
        ("train.learning_rate", "'train.lr'"),
        ("sft.learning_rate", "'sft.lr'"),
        ("train.num_generations", "'train.group_size'"),
        ("output_dir", "'run.dir'"),
        ("rollout.steps_timeout", "'rollout.step_timeout'"),
    ],
)
def test_an_unknown_key_gets_the_nearest_right_one(tmp_path: Path, wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{wrong}'; did you mean {right}"):
        load_config(write(tmp_path, SOURCES), [f"{wrong}=1"])


def test_all_complaints_come_at_once_with_their_origin(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCES + "train: {stepps: 3, lr: fast}\nloss: {type: dapoo}\nmodell: {path: x}\nrun: 3\n")
    overrides = ["train.group_size=1", "seed=abc", "noequals", "data.eval=squad", "ray.address=auto", "a=[1"]
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    for part in (
        f"{path}: unknown key 'train.stepps'; did you mean 'train.steps'?",
        f"{path}: train.lr: Value 'fast'",
        f"{path}: unknown key 'modell'; did you mean 'model'?",
        f"{path}: run is a section",
        "override 'seed=abc': seed: Value 'abc'",
        "override 'noequals': expected key=value",
        "override 'data.eval=squad': data.eval must be a list",
        "override 'a=[1': the value is no readable YAML",
        "loss.type is 'dapoo'; did you mean 'dapo'?",
        "train.group_size is 1: a group of one has no spread",
        "ray.address is auto, but rollout.workers is 0",
    ):
        assert part in message
    assert "11 things are wrong" in message


@pytest.mark.parametrize("text", ["train: [", "- 1\n", "train: {steps: 1}\ntrain: {steps: 2}\n", "\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_config(path)


def test_every_conflict_is_listed() -> None:
    config = good(
        train__group_size=1,
        train__streams_per_step=0,
        train__steps=-1,
        train__lr=float("nan"),
        train__schedule="cosin",
        rollout__temperature=0.0,
        rollout__max_staleness=1,
        loss__importance_cap=0.0,
        rollout__engine="vlm",
        rollout__max_failure_rate=1.5,
        rollout__max_prompt_tokens=512,
        memory__core_budget=4096,
        memory__retrieve_budget=8000,
        eval__streams=0,
        reader__type="lexicl",
        rewards__weights={"qua": 1.0},
        loss__clip_low=-0.1,
        ray__address="auto",
        ray__placement="packd",
        train__parallel="fsdp",
        model__dtype="float8",
        model__path="models/not-there",
    )
    config.data.train = [{"source": "synthetc"}, {"chunks": 3}, {"source": "synthetic", "chnks": 2, "weight": -1}]
    config.data.eval = [{"source": "squad", "path": "/not/there.json"}, {"source": "synthetic", "chunks": "many"}]
    complaints = "\n".join(check_config(config))
    for part in (
        "train.group_size",
        "train.streams_per_step is 0",
        "train.steps is -1",
        "train.lr is nan",
        "did you mean 'cosine'?",
        "rollout.temperature is 0.0; it must be above 0",
        "rollout.max_staleness is 1 and loss.importance_cap is 0",
        "rollout.engine is 'vlm'; did you mean 'vllm'?",
        "rollout.max_failure_rate is 1.5",
        "memory.render_budget (1024) leaves no room",
        "memory.core_budget (4096) exceeds memory.budget",
        "memory.retrieve_budget (8000) leaves no room",
        "eval.streams is 0",
        "did you mean 'lexical'?",
        "unknown part 'qua'; did you mean 'qa'?",
        "loss.clip_low is -0.1",
        "ray.address is auto, but rollout.workers is 0",
        "ray.placement is 'packd'; did you mean 'pack'?",
        "train.parallel is fsdp, but train.processes is 1",
        "model.dtype is 'float8'",
        "model folder models/not-there does not exist",
        "data.train[0]: unknown source 'synthetc'; did you mean 'synthetic'?",
        "data.train[1]: no `source` is named",
        "source 'synthetic' has no option 'chnks'; did you mean 'chunks'?",
        "weight must be a positive number",
        "data.eval[0]: data file /not/there.json does not exist",
        "data.eval[1]: source 'synthetic', option chunks",
    ):
        assert part in complaints


def test_learner_processes_need_what_they_run_on() -> None:
    assert check_config(good(train__processes=2, ray__address="auto")) == []
    assert check_config(good(train__processes=4, train__parallel="fsdp", ray__learner_gpus=1.0)) == []
    for changes, complaint in (
        ({"ray__learner_cpus": 0.0}, "ray.learner_cpus and ray.learner_gpus are both 0"),
        ({"model__device": "cuda"}, "but ray.learner_gpus is 0; set it to 1"),
        ({"model__device": "cpu", "ray__learner_gpus": 1.0}, "but model.device is cpu"),
        ({"ray__learner_gpus": 0.5}, "cannot share a GPU; use 1"),
        ({"train__parallel": "fdsp"}, "did you mean 'fsdp'?"),
    ):
        [found] = check_config(good(train__processes=2, **changes))
        assert complaint in found
    assert check_config(good(train__processes=0)) == ["train.processes is 0; it must be at least 1"]


def test_empty_data_is_a_conflict() -> None:
    assert [line.split(" is empty")[0] for line in check_config(Config())] == ["data.train", "data.eval"]


def test_data_path_fills_in_for_sources_that_read_a_file(tmp_path: Path) -> None:
    config = good()
    config.data.train = [{"source": "squad"}]
    assert "set data.path" in check_config(config)[0]
    config.data.path = str(tmp_path / "missing.json")
    assert "missing.json does not exist" in check_config(config)[0]
    assert check_config(config, files=False) == []


def test_a_model_folder_needs_a_config_and_a_chat_template(tmp_path: Path) -> None:
    config = good(model__path=str(tmp_path))
    assert "no config.json" in check_config(config)[0]
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": null}')
    assert "no chat template" in check_config(config)[0]
    (tmp_path / "chat_template.jinja").write_text("x")
    assert check_config(config) == []


def test_a_hub_name_is_left_to_the_hub() -> None:
    assert check_config(good(model__path="Qwen/Qwen3-0.6B")) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, None),
        ({"model__path": "tiny"}, "output biases, which vLLM leaves out"),
        ({"rollout__max_staleness": 1}, "rollout.max_staleness is 1: rollouts would have to go on meanwhile"),
        ({"rollout__engine": "transformers"}, "rollout.engine is transformers, which cannot sleep"),
        ({"vllm__gpu_memory_utilization": 1.2}, "vllm.gpu_memory_utilization is 1.2; it must lie above 0"),
        ({"train__processes": 2}, "vllm.sleep is for one GPU that engine and learner share"),
        ({"vllm__tensor_parallel_size": 0}, "vllm.tensor_parallel_size is 0; it must be at least 1"),
    ],
)
def test_what_vllm_cannot_do_is_said_before_it_starts(changes: dict[str, object], complaint: str | None) -> None:
    start = {"rollout__engine": "vllm", "vllm__sleep": True, "model__path": "Qwen/Qwen3-0.6B"}
    complaints = check_config(good(**(start | changes)), files=False)
    assert len(complaints) == (complaint is not None)
    assert complaint is None or complaint in complaints[0]


def test_adapters_that_vllm_cannot_load_are_refused() -> None:
    config = good(rollout__engine="vllm", model__path="Qwen/Qwen3-0.6B")
    config.model.lora.rank, config.model.lora.target_modules = 1024, "q_proj,lm_head"
    rank, targets = check_config(config, files=False)
    assert "model.lora.rank is 1024, vLLM takes at most 512" in rank
    assert "names lm_head, which vLLM cannot load adapters for" in targets


@pytest.mark.long
def test_lists_of_names_agree_with_the_code_that_uses_them() -> None:
    from transformers.trainer_utils import SchedulerType

    assert set(SCHEDULES) <= {name.value for name in SchedulerType}
    assert set(CHOICES) | set(BY_KEY) <= KEYS
    assert not set(CHOICES) & set(BY_KEY)
    assert {key for key, _ in values(Config())} == KEYS


def endpoint(**changes: object) -> Config:
    config = good(reader__type="endpoint")
    for key, value in {"url": "http://127.0.0.1:8000/v1", "model": "m", **changes}.items():
        setattr(config.reader.endpoint, key, value)
    return config


def test_an_endpoint_needs_an_address_and_a_model() -> None:
    assert check_config(endpoint()) == []
    [url, model] = check_config(good(reader__type="endpoint"))
    assert "reader.endpoint.url is not set; give the address of an OpenAI-compatible server, e.g. reader.en" in url
    assert "reader.endpoint.model is not set" in model
    [complaint] = check_config(endpoint(timeout=0.0))
    assert "reader.endpoint.timeout is 0.0; it must be above 0" in complaint
    assert len(check_config(endpoint(max_concurrency=0, retries=-1))) == 2


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http:///v1", "http://host:99999/v1", "http://[", ""]
)
def test_an_endpoint_has_an_http_address(url: str) -> None:
    [complaint] = check_config(endpoint(url=url))
    assert complaint == f"reader.endpoint.url is {url!r}; it must be an address like http://127.0.0.1:8000/v1"


SECRET = "sk-proj-0123456789abcdef"


@pytest.mark.parametrize("reader", ["endpoint", "lexical"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", f"https://me:{SECRET}@host/v1"),
        ("url", f"https://host/v1?key={SECRET}"),
        ("api_key_env", SECRET),
        ("api_key_env", "0123456789abcdef0123456789abcdef"),
        ("api_key_env", "AKIA0123456789ABCDEF"),
        ("api_key_env", "hf_abcdefghijklmnop"),
        ("api_key_env", "MY KEY"),
    ],
)
def test_a_secret_in_a_config_is_refused_and_not_repeated(reader: str, key: str, value: str) -> None:
    config = endpoint(**{key: value})
    config.reader.type = reader
    [complaint] = check_config(config, files=False)
    assert f"reader.endpoint.{key}" in complaint
    assert "saved" in complaint
    assert value not in complaint
    assert SECRET not in complaint


def test_no_complaint_repeats_a_secret(tmp_path: Path) -> None:
    overrides = [f"reader.endpoint.api_key={SECRET}", f"reader.endpoint.retries={SECRET}", f"a=[{SECRET}"]
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, SOURCES), [*overrides, f"reader.endpoint.uri=https://me:{SECRET[3:]}@host"])
    message = str(caught.value)
    assert "did you mean 'reader.endpoint.api_key_env'?" in message
    assert "https://***@host" in message
    assert SECRET[3:] not in message


def test_the_variable_with_the_key_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMRL_TEST_KEY", raising=False)
    config = endpoint(api_key_env="MEMRL_TEST_KEY")
    [complaint] = check_config(config)
    assert "reader.endpoint.api_key_env: the environment variable MEMRL_TEST_KEY is not set; export it" in complaint
    assert check_config(config, files=False) == []
    monkeypatch.setenv("MEMRL_TEST_KEY", SECRET)
    assert check_config(config) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rewards.content=judge"], "rewards.content=judge need a judge, and judge.type is none"),
        (["judge.answers={locomo: locomo}"], "judge.answers need a judge"),
        (["judge.type=policy-base"], "nothing is to be graded"),
        (["judge.answers={nowhere: locomo}"], "judge.answers names the unknown source 'nowhere'"),
        (["judge.answers={locomo: locomoo}"], "judge.answers.locomo is 'locomoo'; did you mean 'locomo'"),
        (["judge.type=endpoint", "rewards.content=judge"], "judge.endpoint.url is not set"),
        (["judge.votes=2"], "judge.votes is 2: of an even number"),
        (["rewards.alarms={grwth: 1}"], "unknown meter 'grwth'; did you mean 'growth'"),
        (["rewards.on_alarm=panic"], "rewards.on_alarm is 'panic'"),
        (["rewards.weights={content: 0.5}"], "nothing is paid for content"),
        (["advantage.normalize_parts=true", "advantage.mode=pooled"], "advantage.mode is pooled"),
        (["advantage.normalize_parts=true", "advantage.mode=reroll"], "advantage.mode is reroll, which compares whole"),
        (["advantage.mode=reroll", "advantage.rerolls=0"], "advantage.rerolls is 0; it must be at least 1"),
        (["advantage.mode=reroll", "advantage.reroll_steps=0"], "advantage.reroll_steps is 0; it must be at least 1"),
        (["advantage.mode=reroll", "train.group_size=1"], "train.group_size is 1: a group of one has no spread"),
        (["advantage.mode=reroll", "rollout.temperature=0"], "rollout.temperature is 0.0; it must be above 0"),
        (["advantage.mode=reroll", "advantage.rerolls=some"], "advantage.rerolls"),
        (["advantage.uniform_share=1.1"], "advantage.uniform_share is 1.1; it must lie between 0 and 1"),
        (["advantage.mode=retreived"], "did you mean 'retrieved'"),
    ],
)
def test_judges_meters_and_content_are_checked_before_anything_slow(words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_config("tiny", words)


@pytest.mark.long
@pytest.mark.parametrize("name", ["4e10", "12:30", "007", "on", "1_0", "695e0514", "1.0", "0x1f", "'null'"])
def test_a_name_is_taken_as_it_is_written(name: str, tmp_path: Path) -> None:
    """YAML reads numbers, times and truths in these."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"run:\n  dir: {name}\n  trackers: []\nreader: {{instruction: {name}}}\n")
    sources = ["data.train=[{source: synthetic}]", "data.eval=[{source: synthetic}]"]
    wanted = name.strip("'")
    for config in (
        load_config("tiny", [f"run.dir={name}", f"reader.instruction={name}"]),
        load_config("tiny", [f"run={{dir: {name}}}", f"reader.instruction={name}"]),
        load_config(path, sources),
    ):
        assert (config.run.dir, config.reader.instruction) == (wanted, wanted)
        save_config(config, tmp_path / "saved.yaml")
        assert load_config(tmp_path / "saved.yaml") == config
    assert load_config("tiny", ["run.dir=null"]).run.dir == "runs/tiny"


@pytest.mark.long
@pytest.mark.parametrize("key", ["seed", "eval.seed"])
def test_a_seed_that_no_generator_takes_is_refused(key: str) -> None:
    assert load_config("tiny", [f"{key}={2**63 - 1}"])
    with pytest.raises(ConfigError, match=rf"{key} is {2**63}, which no generator takes; it must be at most"):
        load_config("tiny", [f"{key}={2**63}"])
    with pytest.raises(ConfigError, match=f"{key} is 99999999999999999999, which no generator takes"):
        load_config("tiny", [f"{key}=99999999999999999999"])
    with pytest.raises(ConfigError, match=f"{key} is -1; it must not be negative"):
        load_config("tiny", [f"{key}=-1"])


def test_every_usual_name_means_a_setting_that_exists() -> None:
    assert set(USUAL.values()) <= KEYS
    assert not {name for name in USUAL if any(key.endswith(f".{name}") for key in KEYS)} - {"batch_size", "max_length"}


GPUS_OF_WORKERS = {
    "all workers of a node would load their models onto its first GPU": {"model__device": "cuda"},
    "ray.worker_gpus is 1, but model.device is cpu": {"model__device": "cpu", "ray__worker_gpus": 1.0},
    "each worker's engine needs 2 GPUs of its own; set ray.worker_gpus to 2": {
        "model__device": "cuda", "model__path": "org/name", "rollout__engine": "vllm", "vllm__tensor_parallel_size": 2,
        "ray__worker_gpus": 1.0, "ray__learner_gpus": 1.0,
    },
    "where there is one GPU, set rollout.workers to 0": {
        "model__device": "cuda", "ray__worker_gpus": 1.0,
    },
    "ray.learner_gpus is 0.5: processes that learn together cannot share a GPU": {
        "model__device": "cuda", "ray__worker_gpus": 0.5, "ray__learner_gpus": 0.5,
    },
}  # fmt: skip


@pytest.mark.parametrize("complaint", GPUS_OF_WORKERS)
def test_gpus_that_would_be_nobodys_or_two_models_are_refused(complaint: str) -> None:
    config = good(rollout__workers=3, **GPUS_OF_WORKERS[complaint])
    found = check_config(config, files=False)
    assert [line for line in found if complaint in line], found
    assert len(found) == 1
    config.rollout.workers = 0
    assert not [line for line in check_config(config, files=False) if complaint in line]


def test_a_learner_with_a_gpu_beside_workers_is_placed_by_ray() -> None:
    config = good(rollout__workers=3, model__device="cuda", ray__worker_gpus=1.0, ray__learner_gpus=1.0)
    assert check_config(config, files=False) == []
    assert learner_apart(config)
    assert not learner_apart(good(ray__learner_gpus=1.0))
    assert learner_apart(good(train__processes=2))
