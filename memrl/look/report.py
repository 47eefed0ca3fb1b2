"""`memrl report`: a run as files that a page opens from the disk, without a server and without any request elsewhere.

    report/index.html, and what belongs to it     the page
    report/causes.json                            {"step": {"cause": count}} of the held-out answers
    report/data/index.js                          the runs (memrl.look.records.IndexRecord)
    report/data/RUN/...                           their records, a file each

Invariants: a file appears whole or not at all, and one that is as it should be is not written again, so a report can be
refreshed while a page reads it. A step's files are made once: what they are made of never changes. Only a report's own
folder, known by its mark, is ever written to.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memrl.envs.whole import PARTIAL
from memrl.errors import ConfigError
from memrl.look.episodes import (
    GroupPlace,
    Known,
    Told,
    compare_column,
    episode_record,
    group_record,
    group_row,
    groups_of,
    question_record,
    search_texts,
    wrong_rows,
)
from memrl.look.overview import alarms_of, band_of, series_of
from memrl.look.records import (
    FORMAT,
    CompareRecord,
    EvaluationRecord,
    IndexRecord,
    IndexRunRecord,
    Part,
    RunRecord,
    StreamPlace,
    TrainingRecord,
    WrongRow,
)
from memrl.look.runs import Run, best_of, interval_of, last_of, open_run
from memrl.look.texts import cut
from memrl.report.causes import IN_WORDS, counted
from memrl.report.curve import KIND, kinds_of

REPORT = "report"
"""The folder of a run's report, in the run."""
MARK = "memrl-report.json"
"""Says that a folder is a report, and which of its steps are made of what."""
CAUSES_FILE = "causes.json"
PAGE = Path(__file__).resolve().parents[1] / "report" / "page"
"""The built page."""
EPISODES_AT_MOST = 4_000
PIECES_AT_MOST = 120_000
"""Episodes of a run that get files of their own, where nothing else is said, and the steps and answers that these may
have in all."""
COMPARED = 64
"""Streams of an evaluation that can be compared; and evaluations that are set side by side."""
LIVE_SECONDS = 5.0
LOADED_AT_ONCE = 8
"""Runs whose overviews the page's document loads itself, so that the page need not ask for them one after the other."""
_WHOLE_NAME = re.compile(r"[^\w.-]+", re.ASCII)
_CALL = "memrlData"
Phase = Callable[[], None]


@dataclass
class _Step:
    """The things that a step's files tell beyond themselves; kept in the mark, so that the step is not read again."""

    source: str
    """Size and time of the episodes' file that it was made of."""
    causes: dict[str, int] = field(default_factory=dict)
    causes_by_kind: dict[str, dict[str, int]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    written: bool = False
    """Whether its episodes have files."""
    unread: str = ""
    """Why it could not be read."""


def write_report(
    folders: Sequence[Path],
    out: Path | None = None,
    *,
    episodes: int | None = None,
    live: bool | None = None,
    advance: Phase | None = None,
) -> Path:
    """Write the report of runs, or bring it up to date, and return the path of its page.

    Args:
        folders: of the runs.
        out: where to; None: `report/` in the first run.
        episodes: of each run that get files of their own, two thirds of them held out where there are more; None: as
            many as EPISODES_AT_MOST and PIECES_AT_MOST allow.
        live: whether a page should read it again in a while; None: where a run is going on.
        advance: called after each step that was read.

    Raises:
        ConfigError: no run is there, `out` holds something else, or it is no folder.
        FormatError: a newer version wrote a run.
    """
    out = folders[0] / REPORT if out is None else out
    if episodes is not None and episodes < 0:
        raise ConfigError(f"--episodes is {episodes}; it must be 0 or more.")
    runs = dict(zip(_keys(folders), map(open_run, folders), strict=True))
    mark = _claim(out)
    made: dict[str, Any] = {}
    writer = _Writer(out / "data")
    overviews: list[RunRecord] = []
    causes: dict[str, dict[str, int]] = {}
    for key, run in runs.items():
        before = mark.get("runs", {}).get(key, {})
        whole = before if before.get("folder") == str(run.folder.resolve()) else {}
        one = _RunReport(key, run, writer, whole, episodes, advance or (lambda: None))
        overviews.append(one.write())
        made[key] = {"folder": str(run.folder.resolve()), **one.mark()}
        if len(runs) == 1:
            causes = one.causes()
    running = any(run.state == "running" for run in runs.values()) if live is None else live
    _remove_others(out / "data", set(runs))
    writer.write("index", _index(runs, overviews, running))
    if len(runs) > 1:
        causes = {f"{key}/{step}": found for key in runs for step, found in _causes_in(made[key]["made"]).items()}
    _put_json(out / CAUSES_FILE, causes, indent=2)
    _put_json(out / MARK, {"format": FORMAT, "runs": made})
    _copy_page(out, ["index", *(f"{key}/overview" for key in list(runs)[:LOADED_AT_ONCE])])
    return out / "index.html"


def _keys(folders: Sequence[Path]) -> list[str]:
    """Return a name for each run that is a file's name anywhere."""
    found: list[str] = []
    for folder in folders:
        plain = _WHOLE_NAME.sub("-", folder.resolve().name).strip("-.")[:60] or "run"
        key, number = plain, 2
        while key in found:
            key, number = f"{plain}-{number}", number + 1
        found.append(key)
    return found


def _claim(out: Path) -> dict[str, Any]:
    """Return the mark of a report that is there; refuse a folder that holds anything else."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; a report is a folder: give another --out.")
    try:
        found = json.loads((out / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        others = sorted(path.name for path in out.iterdir())[:3] if out.is_dir() else []
        if others:
            raise ConfigError(
                f"{out} holds something that is no report ({', '.join(others)}): give another --out, or empty it."
            ) from None
        return {}
    except (OSError, ValueError):
        return {}  # it is a report; what is known of it is made anew
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}


class _Writer:
    """Writes records as scripts that call one function."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, record: Any) -> None:
        path = self.folder / f"{name}.js"
        data = script(name, record)
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
        _put(path, data)


def script(name: str, record: Any) -> bytes:
    """Return a record as a script that hands it to the page. ASCII alone, and no `<`: it can end no element, and is
    read alike whatever a page's encoding is."""
    text = json.dumps([name, record], ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f"{_CALL}({text[1:-1]});\n".encode()


class _RunReport:
    """The files of one run.

    Args:
        mark: of the report that was made before (`mark`); empty where there is none.
        most: episodes that get files; None: as many as the bounds allow.
    """

    def __init__(
        self, key: str, run: Run, writer: _Writer, mark: dict[str, Any], most: int | None, advance: Phase
    ) -> None:
        self.key = key
        self.run = run
        self.made: dict[str, dict[str, Any]] = {}
        self.sizes: dict[str, int] = mark.get("sizes", {})
        """What was told of the episodes' sizes."""
        self.compared: dict[str, Any] = mark.get("compared", {})
        """The evaluations that comparisons were written of, and where they are."""
        self._before = mark.get("made", {})
        self._writer = writer
        self._advance = advance
        self._known: Known = {}
        self._most = most

    def mark(self) -> dict[str, Any]:
        """Return what the next report need not find out again."""
        return {"made": self.made, "sizes": self.sizes, "compared": self.compared}

    def causes(self) -> dict[str, dict[str, int]]:
        """Return the counts of causes by step of evaluation."""
        return _causes_in(self.made)

    def write(self) -> RunRecord:
        chosen, left_out = self._choose()
        places: list[tuple[Part, int]] = [("held-out", step) for step in self._steps("held-out")]
        places += [("training", step) for step in self._steps("training")]
        known: dict[tuple[Part, int], _Step] = {}
        for part, step in places:
            known[part, step] = self._step(part, step, (part, step) in chosen)
            self._advance()
        record = self._overview(known, left_out)
        self._writer.write(f"{self.key}/overview", record)
        return record

    def _steps(self, part: Part) -> list[int]:
        last = self.run.step  # what a killed run left behind it is not of the run any more
        return [step for step in self.run.episode_files(part).steps() if step <= last]

    def _choose(self) -> tuple[set[tuple[Part, int]], str]:
        """The steps whose episodes get files, and which do not, in words."""
        held, trained = self._steps("held-out"), self._steps("training")
        train = self.run.setting("train.group_size"), self.run.setting("train.streams_per_step")
        sizes = [size if isinstance(size, int) else 8 for size in (self.run.setting("eval.streams"), *train)]
        of_held, of_trained = max(1, sizes[0]), max(1, sizes[1] * sizes[2])
        most = self._at_most(held, trained) if self._most is None else self._most
        of_trained_at_least = min(most // 3, len(trained) * of_trained)
        first = _evenly(held, (most - of_trained_at_least) // of_held)
        rest = _evenly(trained, (most - len(first) * of_held) // of_trained)
        words = [
            f"{len(every) - len(some)} of {len(every)} {what}"
            for every, some, what in ((held, first, "evaluations"), (trained, rest, "training steps"))
            if len(some) < len(every)
        ]
        left_out = (
            f"Without the episodes of {' and '.join(words)}: memrl report --episodes N shows more." if words else ""
        )
        return {("held-out", step) for step in first} | {("training", step) for step in rest}, left_out

    def _at_most(self, held: Sequence[int], trained: Sequence[int]) -> int:
        """Return how many episodes the bounds allow, by the size of some of them, which are looked at once."""
        if "pieces" not in self.sizes:
            part: Part = "held-out" if held else "training"
            steps = held or trained
            episodes = (self.run.episodes(part, steps[-1]) if steps else None) or []
            pieces = [len(one.steps) + len(one.answers) for one in episodes]
            self.sizes["pieces"] = max(1, round(sum(pieces) / len(pieces))) if pieces else 1
        return min(EPISODES_AT_MOST, PIECES_AT_MOST // self.sizes["pieces"])

    def _step(self, part: Part, step: int, chosen: bool) -> _Step:
        """The step's files, made where they are not there yet."""
        name = f"{part}/{step:05d}"
        file = self.run.episode_files(part).path(step)
        stat = file.stat()
        source = f"{stat.st_size} {stat.st_mtime_ns}"
        before = self._before.get(name)
        there = (self._writer.folder / self.key / name / "groups.js").is_file()
        if (
            before
            and before["source"] == source
            and bool(before["written"]) == chosen == there
            and not before["unread"]
        ):
            found = _Step(**before)
        elif not chosen and part == "training":
            found = _Step(source)
        else:
            with _no_collecting():
                found = self._make(part, step, source, chosen)
        if found.unread and found.unread not in self.run.damage:
            self.run.damage.append(found.unread)
        if not found.written:
            shutil.rmtree(self._writer.folder / self.key / name, ignore_errors=True)
        self.made[name] = vars(found)
        return found

    def _make(self, part: Part, step: int, source: str, chosen: bool) -> _Step:
        episodes = self.run.episodes(part, step)
        if episodes is None:
            return _Step(source, unread=self.run.damage[-1])
        found = _Step(source, written=chosen)
        groups = groups_of(episodes, part, self._known if part == "held-out" else {})
        by_kind: dict[str, Counter[str]] = {}
        for told in (told for group in groups for told in group):
            for answer in told.episode.answers:
                if (why := told.why.get(answer.question_id)) is not None:
                    by_kind.setdefault(answer.kind, Counter())[why.cause.value] += 1
        found.causes = counted(cause for counts in by_kind.values() for cause in counts.elements())
        found.causes_by_kind = {kind: counted(counts.elements()) for kind, counts in sorted(by_kind.items())}
        found.sources = sorted({episode.source for episode in episodes})
        if part == "held-out":
            self._columns(step, groups, written=chosen)
        if chosen:
            self._write_groups(part, step, groups)
        return found

    def _write_groups(self, part: Part, step: int, groups: Sequence[Sequence[Told]]) -> None:
        run = self.run
        whose = {"run": self.key, "part": part, "step": step}
        rows, wrong, search = [], list[WrongRow](), []
        for number, group in enumerate(groups):
            place = GroupPlace(self.key, part, step, number)
            self._writer.write(place.group, group_record(place, group))
            for told in group:
                record = episode_record(place, told, instruction=run.instruction, reader=run.reader)
                self._writer.write(place.episode(told.episode.index), record)
                wrong += wrong_rows(place, told)
            rows.append(group_row(place, group))
            search += search_texts(place, group)
        folder = f"{self.key}/{part}/{step:05d}"
        self._writer.write(f"{folder}/wrong", {**whose, "rows": wrong})
        self._writer.write(f"{folder}/search", {**whose, "texts": search})
        self._writer.write(f"{folder}/groups", {**whose, "groups": rows})  # last: it says that the step is there

    # The overview ---------------------------------------------------------------------------------------------------

    def _overview(self, known: dict[tuple[Part, int], _Step], left_out: str) -> RunRecord:
        run = self.run
        streams = self._compare({step: found for (part, step), found in known.items() if part == "held-out"})
        return {
            "format": FORMAT,
            "run": self.key,
            "name": run.name,
            "folder": run.folder.resolve().name,
            "seed": run.seed,
            "state": run.state,
            "state_in_words": run.state_in_words,
            "step": run.step,
            "steps": run.steps,
            "version": run.version,
            "updated": _now(),
            "damage": run.damage,
            "alarms": alarms_of(run),
            "best": best_of(run),
            "last": last_of(run),
            "kinds": kinds_of(run.rows),
            "sources": sorted({source for found in known.values() for source in found.sources}),
            "causes": [{"key": cause.value, "label": label} for cause, label in IN_WORDS.items()],
            "series": series_of(run),
            "evaluations": [self._evaluation(row, known.get(("held-out", row["step"]))) for row in run.evaluations()],
            "training": [self._training(step, found) for (part, step), found in known.items() if part == "training"],
            "streams": streams,
            "settings": {key: cut(str(value), 500) for key, value in _flat(run.settings)},
            "left_out": left_out,
        }

    def _evaluation(self, row: dict[str, Any], found: _Step | None) -> EvaluationRecord:
        told = found is not None and not found.unread
        return {
            "step": row["step"],
            "qa": interval_of(row, "eval/qa"),
            "kinds": {kind: row[KIND + kind] for kind in kinds_of([row])},
            "streams": int(row.get("eval/streams", 0)),
            "failures": int(row.get("eval/failures", 0)),
            "causes": found.causes if found and told else None,
            "causes_by_kind": found.causes_by_kind if found and told else None,
            "groups": self._name("held-out", row["step"], "groups", found),
            "wrong": self._name("held-out", row["step"], "wrong", found),
            "search": self._name("held-out", row["step"], "search", found),
        }

    def _training(self, step: int, found: _Step) -> TrainingRecord:
        return {
            "step": step,
            "groups": self._name("training", step, "groups", found),
            "wrong": self._name("training", step, "wrong", found),
            "search": self._name("training", step, "search", found),
        }

    def _name(self, part: Part, step: int, what: str, found: _Step | None) -> str | None:
        return f"{self.key}/{part}/{step:05d}/{what}" if found and found.written else None

    def _columns(self, step: int, groups: Sequence[Sequence[Told]], *, written: bool) -> None:
        """Keep what the comparison needs of an evaluation, so that its episodes are not read again."""
        found = []
        for number, (told, *_) in enumerate(groups[:COMPARED]):
            episode = told.episode
            head: dict[str, Any] = {
                "run": self.key,
                "stream": episode.stream_id,
                "source": episode.source,
                "chunks": [cut(chunk.text, 2_000) for chunk in episode.chunks],
                "questions": [question_record(answer) for answer in episode.answers],
            }
            column = compare_column(GroupPlace(self.key, "held-out", step, number), told, written=written)
            found.append({"head": head, "column": column})
        _put_json(self._column_file(step), found)

    def _column_file(self, step: int) -> Path:
        return self._writer.folder / self.key / "columns" / f"{step:05d}.json"

    def _compare(self, evaluations: dict[int, _Step]) -> list[StreamPlace]:
        """Write each held-out stream through the evaluations, and return where it is."""
        records: dict[tuple[str, str], CompareRecord] = {}
        steps = _evenly([step for step, found in evaluations.items() if not found.unread], COMPARED)
        of = {str(step): [evaluations[step].source, evaluations[step].written] for step in steps}
        if self.compared.get("of") == of and (self._writer.folder / self.key / "compare").is_dir():
            return list(self.compared["streams"])
        for step in steps:
            for one in _read_list(self._column_file(step)):
                head: CompareRecord = one["head"] | {"evaluations": []}
                record = records.setdefault((head["source"], head["stream"]), head)
                record["evaluations"].append(one["column"])
        streams: list[StreamPlace] = []
        for number, ((source, stream), record) in enumerate(records.items()):
            name = f"{self.key}/compare/{number:04d}"
            self._writer.write(name, record)
            streams.append({"stream": stream, "source": source, "compare": name})
        self.compared = {"of": of, "streams": streams}
        return streams


def _causes_in(made: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    found = {name.split("/")[1]: step["causes"] for name, step in made.items() if name.startswith("held-out/")}
    return {str(int(step)): causes for step, causes in sorted(found.items()) if causes}


def _index(runs: dict[str, Run], overviews: Sequence[RunRecord], running: bool) -> IndexRecord:
    rows: list[IndexRunRecord] = [
        {
            "run": one["run"],
            "name": one["name"],
            "folder": one["folder"],
            "seed": one["seed"],
            "state": one["state"],
            "step": one["step"],
            "steps": one["steps"],
            "best": one["best"],
            "last": one["last"],
            "alarms": len(one["alarms"]),
            "overview": f"{one['run']}/overview",
        }
        for one in overviews
    ]
    return {
        "format": FORMAT,
        "title": ", ".join(one["folder"] for one in overviews),
        "updated": datetime.now(
            UTC
        ).isoformat(),  # to the microsecond: a page that is live tells two writings apart by it
        "live": LIVE_SECONDS if running else None,
        "runs": rows,
        "band": band_of(list(runs.items())),
    }


def _evenly(steps: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the steps, the first and the last among them, the others evenly between; where there
    is room for one, the last."""
    if most <= 0 or not steps:
        return []
    if len(steps) <= most:
        return list(steps)
    if most == 1:
        return [steps[-1]]
    return [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]


def _flat(tree: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        name = f"{before}{key}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, "" if value is None else value


def _remove_others(data: Path, keys: set[str]) -> None:
    """Remove what an earlier report of other runs has left in this one."""
    for path in data.iterdir() if data.is_dir() else ():
        if path.is_dir() and path.name not in keys:
            shutil.rmtree(path)


def _copy_page(out: Path, names: Sequence[str]) -> None:
    """Copy the built page beside the data, those of its files that are not there as they are; its document loads the
    records of these names, after the script that takes them in."""
    scripts = "".join(f'    <script defer src="data/{name}.js"></script>\n' for name in names).encode()
    for path in sorted(PAGE.rglob("*")) if PAGE.is_dir() else ():
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path == PAGE / "index.html":
            data = data.replace(b"  </head>", scripts + b"  </head>", 1)
        target = out / path.relative_to(PAGE)
        if not (target.is_file() and target.read_bytes() == data):
            _put(target, data)


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Keep Python from searching for circles meanwhile: records have none, and to see that takes 40 % of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _put(path: Path, data: bytes) -> None:
    """Write a file: readers see the old content or the new. Nothing is forced to the disk, since all of it can be made
    again; two processes may write the same report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _put_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    _put(path, (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode())


def _read_list(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
