"""StreamFeed: one reproducible, seekable sequence out of several sources."""

from pathlib import Path

import pytest

from memrl.config import Config, load_config
from memrl.data.feed import StreamFeed, check_data, parse_spec
from memrl.envs.sources import open_source
from memrl.envs.stream import write_jsonl
from memrl.errors import DataError

SMALL = {"source": "synthetic", "chunks": 2, "questions": 2}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Five streams in a file."""
    path = tmp_path / "five.jsonl"
    write_jsonl(path, open_source("synthetic", {"count": 5, "chunks": 1, "seed": 9}))
    return path


def test_same_seed_same_streams_and_another_seed_others() -> None:
    first, again, other = (StreamFeed([SMALL], None, seed).take(4) for seed in (1, 1, 2))
    assert first == again
    assert {stream.id for stream in first}.isdisjoint(stream.id for stream in other)


@pytest.mark.parametrize("position", [0, 1, 4, 7, 13])
def test_seek_equals_taking(file: Path, position: int) -> None:
    specs = [{**SMALL, "weight": 2}, {"source": "jsonl"}]
    straight = StreamFeed(specs, str(file), 3).take(20)
    feed = StreamFeed(specs, str(file), 3)
    feed.seek(position)
    assert feed.position == position
    assert feed.take(5) == straight[position : position + 5]
    feed.seek(2)  # backwards
    assert feed.take(3) == straight[2:5]
    assert feed.position == 5


def test_finite_source_cycles_in_a_new_order(file: Path) -> None:
    taken = [stream.id for stream in StreamFeed([{"source": "jsonl", "path": str(file)}], None, 0).take(15)]
    passes = [taken[0:5], taken[5:10], taken[10:15]]
    assert all(sorted(order) == sorted(passes[0]) for order in passes)
    assert len({tuple(order) for order in passes}) > 1


def test_without_cycling_no_stream_comes_twice(file: Path) -> None:
    feed = StreamFeed([{"source": "jsonl", "path": str(file)}], None, 0, cycle=False)
    assert len({stream.id for stream in feed.take(64)}) == 5
    assert feed.take(1) == []
    mixed = StreamFeed([{"source": "jsonl", "path": str(file)}, {**SMALL, "count": 3}], None, 0, cycle=False)
    assert len(mixed.take(64)) == 8
    with pytest.raises(DataError, match="ends after 8 streams"):
        mixed.seek(9)


def test_a_fixed_seed_and_count_give_the_same_set_each_pass() -> None:
    taken = StreamFeed([{**SMALL, "seed": 5, "count": 3}], None, 0).take(6)
    assert taken[:3] == taken[3:]


def test_weights_share_out_the_sequence() -> None:
    heavy, light = {**SMALL, "weight": 9, "seed": 1}, {**SMALL, "weight": 1, "seed": 2}
    taken = StreamFeed([heavy, light], None, 0).take(300)
    share = sum(stream.id.startswith("synthetic-1-") for stream in taken) / 300
    assert 0.85 < share < 0.95


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"chunks": 3}, "names no source"),
        ({"source": "synthetc"}, "unknown source 'synthetc'"),
        ({"source": "squad"}, "set data.path"),
        ({"source": "synthetic", "weight": 0}, "weight must be a positive number"),
        ({"source": "synthetic", "weight": "x"}, "weight must be a positive number"),
        ({"source": "synthetic", "chnks": 3}, "no option 'chnks'"),
    ],
)
def test_a_wrong_spec_is_refused_at_once(spec: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        StreamFeed([spec], None, 0)


def test_no_source_and_no_stream_are_data_errors() -> None:
    with pytest.raises(DataError, match="no data source"):
        StreamFeed([], None, 0)
    for cycle in (True, False):
        with pytest.raises(DataError, match="yields no stream"):
            StreamFeed([{**SMALL, "count": 0}], None, 0, cycle=cycle).take(1)


def test_paths_know_the_home_folder() -> None:
    spec = parse_spec({"source": "jsonl", "path": "~/x.jsonl"}, None)
    assert spec.options["path"] == str(Path.home() / "x.jsonl")


def test_check_data_names_every_bad_source(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text('{"id": "a"\n')
    config = Config()
    config.data.train = [SMALL, {"source": "jsonl", "path": str(damaged)}]
    config.data.eval = [{"source": "jsonl", "path": str(tmp_path / "gone.jsonl")}]
    with pytest.raises(DataError) as caught:
        check_data(config.data, config.seed)
    assert "data.train[1]:" in str(caught.value)
    assert "line 1" in str(caught.value)
    assert "data.eval[0]:" in str(caught.value)


def test_check_data_names_a_metric_that_does_not_exist() -> None:
    config = load_config("tiny")
    config.data.train = [{"source": "synthetic", "metric": "sub_string"}]
    with pytest.raises(DataError, match=r"data\.train\[0\]: .*unknown metric 'sub_string'; did you mean 'substring'"):
        check_data(config.data, config.seed)


def test_a_source_with_a_name_on_the_hub_needs_no_file() -> None:
    assert parse_spec({"source": "memalpha"}, None).options == {}
    assert parse_spec({"source": "memalpha"}, "a folder").options == {"path": "a folder"}
