// Why answers are wrong: counts by cause over steps and by kind, and the answers themselves.
import { useMemo } from "preact/hooks";
import { KindTable, Stacks, StepTable, told } from "./causes";
import { useRecord, useRuns } from "./data";
import { crumbs, goTo, stepsAround, useStep } from "./groups";
import { useKeys } from "./keys";
import { useWidth } from "./overview";
import { Around, Cause, Choice, Fault, Head, Loading, Panel, partInWords, pathOf, StepChoice } from "./parts";
import type { GroupListRecord, RunRecord, WrongListRecord, WrongRow } from "./records";
import { go, link, type Route } from "./route";
import { count, score, T } from "./text";
import { Rows } from "./virtual";

export function Wrong({ route }: { route: Route }) {
  const { run, place, fault } = useStep(route);
  const { index } = useRuns();
  const list = useRecord<WrongListRecord>(place?.wrong);
  const groups = useRecord<GroupListRecord>(place?.groups);
  const [box, width] = useWidth();
  const [before, after] = run && place ? stepsAround(run, place.part, place.step, "wrong") : [];
  const reading = !fault && !run;
  useKeys({ s: goTo(after, reading), S: goTo(before, reading), u: goTo(run && link("run", run.run), reading) });
  if (fault) return <Fault>{fault}</Fault>;
  if (!run || !place) return <Loading />;
  const evaluation = place.part === "held-out" ? told(run).find((one) => one.step === place.step) : undefined;
  const [cause, kind] = [route.get("cause"), route.get("kind")];
  return (
    <>
      <Head up={crumbs(run, (index?.runs.length ?? 0) > 1)} title={`Why wrong: ${partInWords(place.part, place.step)}`}>
        <div class="tools">
          <StepChoice run={run} place={place} view="wrong" />
          <Around name="step" keys="s" before={before} after={after} />
          <a href={link("groups", pathOf(run.run, place))}>streams</a>
        </div>
      </Head>
      {evaluation && (
        <div class="two">
          <Panel title="By cause and kind" aside={<span class="faint">choose one to filter the list</span>}>
            <KindTable run={run} evaluation={evaluation} cause={cause} kind={kind} />
          </Panel>
          <Panel title="Over steps">
            <div ref={box}>{width > 0 && <Stacks run={run} width={width} chosen={place.step} only={cause} />}</div>
            <StepTable run={run} />
          </Panel>
        </div>
      )}
      {list.fault ? (
        <Fault>{list.fault}</Fault>
      ) : list.record ? (
        <List run={run} route={route} rows={list.record.rows} groups={groups.record} />
      ) : (
        <Loading />
      )}
    </>
  );
}

function List({ run, route, rows, groups }: { run: RunRecord; route: Route; rows: WrongRow[]; groups: GroupListRecord | null }) {
  const words = { cause: route.get("cause"), kind: route.get("kind"), source: route.get("source"), result: route.get("result") };
  const pick = (key: string) => (value: string) => go(link("wrong", route.path, { ...words, [key]: value }), true);
  const results = useMemo(() => {
    const found = new Map<string, Set<string>>();
    for (const row of groups?.groups ?? []) for (const name of row.episodes) found.set(name, new Set(Object.keys(row.results)));
    return found;
  }, [groups]);
  const some = useMemo(
    () =>
      rows.filter(
        (row) =>
          (!words.cause || row.cause === words.cause) &&
          (!words.kind || row.kind === words.kind) &&
          (!words.source || row.source === words.source) &&
          (!words.result || results.get(row.episode)?.has(words.result)),
      ),
    [rows, results, words.cause, words.kind, words.source, words.result],
  );
  const plain = (values: Iterable<string>): [string, string][] => [...new Set(values)].sort().map((one) => [one, one]);
  const codes = plain([...results.values()].flatMap((one) => [...one]));
  const none = !words.cause && !words.kind && !words.source && !words.result;
  return (
    <Panel
      title="Wrong answers"
      aside={
        <span class="found" role="status">
          {some.length === rows.length ? count(rows.length, "answer") : `${some.length} of ${count(rows.length, "answer")}`}
        </span>
      }
    >
      <div class="filters">
        <Choice label="Cause" all="any" value={words.cause} pick={pick("cause")} options={run.causes.filter((one) => rows.some((row) => row.cause === one.key)).map((one) => [one.key, one.label])} />
        <Choice label="Kind" all="any" value={words.kind} pick={pick("kind")} options={plain(rows.map((row) => row.kind))} />
        <Choice label="Source" all="any" value={words.source} pick={pick("source")} options={plain(rows.map((row) => row.source))} />
        <Choice label="Tool result in its stream" all="any" value={words.result} pick={pick("result")} options={codes} />
        {!none && <a href={link("wrong", route.path)}>all of them</a>}
      </div>
      <Rows
        rows={some}
        label="List of wrong answers"
        height={[56, 96]}
        most={12}
        empty={rows.length === 0 ? "No answer is wrong here." : "No wrong answer is left by these filters."}
        row={(row) => (
          <a class="line wrong-line" href={link("episode", row.episode, { q: row.question })}>
            <span class="line-name">
              <T className="ellipsis">{row.text}</T>
              <span class="faint">
                <T>{row.kind}</T>, <T>{row.source}</T>, score {score(row.score)}
              </span>
            </span>
            <span class="line-answers">
              <span class="ellipsis">
                <span class="faint">said</span> <T>{row.answer || "nothing"}</T>
              </span>
              <span class="ellipsis">
                <span class="faint">gold</span> <T>{row.gold}</T>
              </span>
            </span>
            <Cause causes={run.causes} cause={row.cause} />
          </a>
        )}
      />
    </Panel>
  );
}
