"""What is particular to each source of labelled utterances, on hand-made and, where they are there, on real files."""

from __future__ import annotations

import gzip
import json
import tarfile
from importlib import import_module
from pathlib import Path

import pytest

from memrl.envs.building.labels import Labelled
from memrl.envs.building.tokens import count_tokens
from memrl.envs.errors import DataError
from memrl.envs.sources import clinc150, csabstruct, nlu, open_source, pubmed_rct, trec
from memrl.envs.stream import Stream
from tests.raw import clinc150 as raw_clinc150
from tests.raw import csabstruct as raw_csabstruct
from tests.raw import nlu as raw_nlu
from tests.raw import pubmed_rct as raw_pubmed_rct
from tests.raw import trec as raw_trec
from tests.shared import shared


def counts(examples: list[Labelled]) -> tuple[int, int]:
    """How many of the training and of the test part."""
    return sum(e.part == "train" for e in examples), sum(e.part == "test" for e in examples)


def labels(examples: list[Labelled]) -> set[str]:
    return {example.label for example in examples}


def test_clinc150_asks_nothing_out_of_scope_unless_told(tmp_path: Path) -> None:
    folder = raw_clinc150.write(tmp_path)
    usual = list(clinc150.read(folder))
    assert counts(usual) == (99, 12) and labels(usual) == {"translate", "weather", "timer"}
    wide = list(clinc150.read(folder / "data_full.json", out_of_scope=True))
    assert counts(wide) == (111, 18) and labels(wide) == labels(usual) | {"oos"}
    assert [example for example in wide if example.label != "oos"] == usual


def test_clinc150_says_which_part_is_missing_and_which_record_is_wrong(tmp_path: Path) -> None:
    file = raw_clinc150.write(tmp_path) / "data_full.json"
    parts = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**parts, "test": [["hello", "greeting"], ["", "greeting"]]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"data_full\.json, record 2 at test\.item"):
        list(clinc150.read(tmp_path))
    del parts["oos_val"]
    file.write_text(json.dumps(parts), encoding="utf-8")
    assert len(list(clinc150.read(tmp_path))) == 111
    with pytest.raises(DataError, match=r"no record at oos_val\.item"):
        list(clinc150.read(tmp_path, out_of_scope=True))


def test_nlu_reads_an_archive_as_it_reads_a_folder(tmp_path: Path) -> None:
    folder = raw_nlu.write(tmp_path / "fold")
    archive = tmp_path / "fold.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, arcname=".")
    examples = list(nlu.read(folder))
    assert examples == list(nlu.read(archive))
    assert counts(examples) == (90, 12) and labels(examples) == {"alarm_set", "alarm_query", "play_music"}
    assert examples[0].text == "please query the alarm of room 0 trai"  # without the annotation
    assert nlu.SOURCE.locate is not None and nlu.SOURCE.locate([archive]) == [archive]


def test_nlu_takes_quotes_as_text_and_names_the_line_of_an_empty_field(tmp_path: Path) -> None:
    folder = raw_nlu.write(tmp_path)
    file = folder / "testset" / "csv" / "alarm_set.csv"
    file.write_text(f'{raw_nlu.HEADER}\n1;alarm;set;x;"say ""hey; you"" at six";y\n', encoding="utf-8")
    assert 'say "hey; you" at six' in {example.text for example in nlu.read(folder)}
    file.write_text(f'{raw_nlu.HEADER}\n1;alarm;set;x;"";y\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"alarm_set\.csv, line 2: the column answer_from_anno is empty"):
        list(nlu.read(folder))
    file.write_bytes(f"{raw_nlu.HEADER}\n1;alarm;set;x;caf\xe9;y\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"alarm_set\.csv is not UTF-8"):
        list(nlu.read(folder))


def test_csabstruct_keeps_the_sentences_of_an_abstract_together(tmp_path: Path) -> None:
    examples = list(csabstruct.read(raw_csabstruct.write(tmp_path)))
    assert counts(examples) == (140, 20)
    assert len({example.group for example in examples}) == 40
    sides: dict[str, set[str]] = {}
    for split in ("train", "eval"):
        for stream in open_source("csabstruct", {"path": tmp_path, "split": split, "eval_share": 0.5}):
            for study in range(30):
                if f"train study {study}." in " ".join(chunk.text for chunk in stream.chunks):
                    sides.setdefault(f"study {study}", set()).add(split)
    assert {len(side) for side in sides.values()} == {1}


def test_csabstruct_names_the_line_that_lacks_a_label(tmp_path: Path) -> None:
    folder = raw_csabstruct.write(tmp_path)
    with (folder / "dev.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"abstract_id": 0, "sentences": ["One.", "Two."], "labels": ["method"]}\n')
    with pytest.raises(DataError, match=r"dev\.jsonl, line 6: 2 sentences, but 1 labels"):
        list(csabstruct.read(folder))


def test_half_a_surrogate_pair_is_damage(tmp_path: Path) -> None:
    folder = raw_csabstruct.write(tmp_path)
    with (folder / "test.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"abstract_id": 0, "sentences": ["\\ud83d\\ude00 fine"], "labels": ["method"]}\n')
        file.write('{"abstract_id": 0, "sentences": ["\\uD83d broken"], "labels": ["method"]}\n')
    with pytest.raises(DataError, match=r"test\.jsonl, line 7"):
        list(csabstruct.read(folder))


def test_a_null_among_records_is_damage_and_not_their_end(tmp_path: Path) -> None:
    file = raw_clinc150.write(tmp_path) / "data_full.json"
    parts = json.loads(file.read_text(encoding="utf-8"))
    parts["train"].insert(3, None)
    file.write_text(json.dumps(parts), encoding="utf-8")
    with pytest.raises(DataError, match=r"record 4 at train\.item"):
        list(clinc150.read(tmp_path))


def test_trec_has_coarse_and_fine_labels(tmp_path: Path) -> None:
    folder = raw_trec.write(tmp_path)
    coarse, fine = list(trec.read(folder)), list(trec.read(folder, labels="fine"))
    assert counts(coarse) == counts(fine) == (120, 16)
    assert labels(coarse) == {"DESC", "HUM", "NUM"}
    assert labels(fine) == {"DESC:manner", "HUM:ind", "NUM:date", "NUM:count"}
    assert coarse[0].text == "How did town 0 get its café ?"
    with pytest.raises(DataError, match="labels"):
        open_source("trec", {"path": folder, "labels": "medium"})


def test_trec_names_a_line_without_a_label(tmp_path: Path) -> None:
    folder = raw_trec.write(tmp_path)
    with (folder / "TREC_10.label").open("a", encoding="latin-1") as file:
        file.write("\nHow far is it ?\n")
    with pytest.raises(DataError, match=r"TREC_10\.label, line 18 "):
        list(trec.read(folder))


@pytest.mark.parametrize("packed", [False, True])
def test_pubmed_rct_knows_which_abstract_a_sentence_is_of(packed: bool, tmp_path: Path) -> None:
    folder = raw_pubmed_rct.write(tmp_path)
    if packed:
        plain = folder / "train.txt"
        (folder / "train.txt.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    examples = list(pubmed_rct.read(folder))
    assert counts(examples) == (105, 15) and labels(examples) == {"OBJECTIVE", "METHODS", "RESULTS"}
    assert examples[4] == Labelled("We counted how often drug 101 helped .", "METHODS", "train", "101")
    assert len({example.group for example in examples}) == 40


@pytest.mark.parametrize("line", ["METHODS", "no label\tand text", "RESULTS  blanks for a tab"])
def test_pubmed_rct_names_a_line_that_is_no_sentence(line: str, tmp_path: Path) -> None:
    folder = raw_pubmed_rct.write(tmp_path)
    (folder / "dev.txt").write_text(f"###1\nMETHODS\tWe looked .\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.txt, line 3 "):
        list(pubmed_rct.read(folder))
    (folder / "dev.txt").write_text("METHODS\tWe looked .\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.txt, line 1 "):
        list(pubmed_rct.read(folder))


def test_names_that_others_use_too_are_told_apart_by_how_a_file_begins(tmp_path: Path) -> None:
    for source, ending in ((csabstruct.SOURCE, "jsonl"), (pubmed_rct.SOURCE, "txt")):
        for part in ("train", "dev", "test"):
            (tmp_path / f"{part}.{ending}").write_text('{"text": "another file"}\n', encoding="utf-8")
        assert source.locate is not None and not source.locate(sorted(tmp_path.iterdir()))


@pytest.mark.parametrize("name", ["banking77", "csabstruct", "pubmed_rct", "trec"])
def test_one_file_of_several_is_refused(name: str, tmp_path: Path) -> None:
    folder = import_module(f"tests.raw.{name}").write(tmp_path)
    with pytest.raises(DataError, match="Give the folder's path"):
        list(open_source(name, {"path": next(folder.glob("*train*"))}))


REAL = {
    # place, utterances of the training and the test part, labels, tokens a chunk, streams
    "clinc150": ("clinc150", (18000, 4500), 150, 592, (47, 30, 9)),
    "nlu": ("nlu_hwu64/hwu64_fold1.tar.gz", (9960, 1076), 64, 614, (21, 13, 4)),
    "csabstruct": ("csabstruct", (13359, 1349), 5, 1681, (26, 17, 5)),
    "banking77": ("banking77", (10003, 3080), 77, 588, (34, 22, 7)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(REAL))
def test_on_real_files(name: str) -> None:
    place, parts, many, tokens, streams = REAL[name]
    path = shared("data", *place.split("/"))
    module = {"clinc150": clinc150, "nlu": nlu, "csabstruct": csabstruct}.get(name)
    if module is not None:
        examples = list(module.read(path))
        assert counts(examples) == parts and len(labels(examples)) == many
    built: list[list[Stream]] = []
    for split in (None, "train", "eval"):
        built.append(list(open_source(name, {"path": path, "split": split})))
        for stream in built[-1]:
            assert len(stream.chunks) == 10 and len(stream.questions) == 100
            assert len(stream.metadata["labels"]) == many
            text = "\n".join(chunk.text for chunk in stream.chunks).casefold()
            assert not any(
                f"\n{question.text.partition('Text: ')[2].casefold()}\nlabel:" in text for question in stream.questions
            )
    assert tuple(map(len, built)) == streams
    sizes = [count_tokens(chunk.text) for stream in built[0] for chunk in stream.chunks]
    assert abs(sum(sizes) / len(sizes) - tokens) < 1
