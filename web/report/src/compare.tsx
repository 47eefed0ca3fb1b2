// One held-out stream twice: two steps of a run, or two runs. What is kept, updated, left; which answers turned.
import { useState } from "preact/hooks";
import { useRecord, useRuns } from "./data";
import { goTo } from "./groups";
import { useKeys } from "./keys";
import { beside, Cause, Choice, Differing, Fault, Head, Loading, OnlyDiffering, Panel, Right } from "./parts";
import type { CompareColumn, CompareRecord, RunRecord, StreamPlace } from "./records";
import { go, link, type Route } from "./route";
import { count, Long, score, T } from "./text";

export function Compare({ route }: { route: Route }) {
  const { index, runs, fault } = useRuns();
  const run = runs.get(route.path || (index?.runs[0]?.run ?? ""));
  const other = runs.get(route.get("with")) ?? run;
  const wanted = { stream: route.get("stream"), source: route.get("source") };
  const place = run?.streams.find((one) => one.stream === wanted.stream && (!wanted.source || one.source === wanted.source)) ?? run?.streams[0];
  const twin = place && other?.streams.find((one) => one.stream === place.stream && one.source === place.source);
  const left = useRecord<CompareRecord>(place?.compare);
  const right = useRecord<CompareRecord>(twin?.compare);
  const streams = run?.streams ?? [];
  const at = place ? streams.indexOf(place) : -1;
  const words = { with: other === run ? "" : (other?.run ?? ""), stream: place?.stream ?? "", source: place?.source ?? "", a: route.get("a"), b: route.get("b") };
  const to = (change: Record<string, string>) => link("compare", run?.run ?? "", { ...words, ...change });
  const reading = !fault && !(index && (run || !index.runs.some((one) => one.run === route.path)));
  const turn = (by: number) => {
    const next = beside(streams, at, by);
    return goTo(next && to({ stream: next.stream, source: next.source }), reading);
  };
  useKeys({ g: turn(1), G: turn(-1), u: goTo(run && link("run", run.run), reading) });
  if (fault) return <Fault>{fault}</Fault>;
  if (!index || !run) return index && !index.runs.some((one) => one.run === route.path) && route.path ? <Fault>{`This report has no run ${route.path}.`}</Fault> : <Loading />;
  if (!place) return <Fault>This run has kept no held-out episodes, so there is nothing to compare.</Fault>;
  if (left.fault || right.fault) return <Fault>{left.fault || right.fault}</Fault>;
  return (
    <>
      <Head up={[[run.folder, link("run", run.run)]]} title="Compare">
        <p class="facts">
          <span>What the policy has learned to keep, to update and to leave, on one stream that it was never trained on.</span>
        </p>
      </Head>
      {left.record && twin && right.record ? (
        <Both run={run} other={other ?? run} left={left.record} right={right.record} words={words} to={to} streams={streams} place={place} all={index.runs.map((one) => [one.run, one.folder])} />
      ) : !twin ? (
        <Fault>The other run was not evaluated on this stream.</Fault>
      ) : (
        <Loading />
      )}
    </>
  );
}

type BothProps = {
  run: RunRecord;
  other: RunRecord;
  left: CompareRecord;
  right: CompareRecord;
  words: Record<string, string>;
  to: (change: Record<string, string>) => string;
  streams: StreamPlace[];
  place: StreamPlace;
  all: [string, string][];
};

function Both({ run, other, left, right, words, to, streams, place, all }: BothProps) {
  const [only, set] = useState(false);
  const a = left.evaluations.find((one) => String(one.step) === words["a"]) ?? (run === other ? left.evaluations[0] : left.evaluations.at(-1));
  const b = right.evaluations.find((one) => String(one.step) === words["b"]) ?? right.evaluations.at(-1);
  if (!a || !b) return <Fault>There is no evaluation of this stream.</Fault>;
  const name = (one: RunRecord, step: number) => (run === other ? `step ${step}` : `${one.folder}, step ${step}`);
  const [nameA, nameB] = [name(run, a.step), name(other, b.step)];
  const chunks = left.chunks.map((text, number) => ({ text, number, sides: sidesOf(a, b, number) }));
  const some = chunks.filter((one) => !only || !one.sides.same);
  const steps = (record: CompareRecord): [string, string][] => record.evaluations.map((one) => [String(one.step), `step ${one.step}`]);
  const kept = (one: CompareColumn) => one.kept.reduce((sum, texts) => sum + texts.length, 0);
  const sum = (values: number[]) => values.reduce((all_, one) => all_ + one, 0);
  const rows: [string, string, string][] = [
    ["accuracy", score(a.qa), score(b.qa)],
    ["texts kept", `${kept(a)}`, `${kept(b)}`],
    ["updates", `${sum(a.updated)}`, `${sum(b.updated)}`],
    ["deletions", `${sum(a.deleted)}`, `${sum(b.deleted)}`],
    ["calls that failed", `${sum(a.failed)}`, `${sum(b.failed)}`],
    ["memory, tokens", `${a.memory_tokens}`, `${b.memory_tokens}`],
  ];
  const turned = left.questions.map((one) => ({ one, a: a.answers[one.id], b: b.answers[one.id] }));
  const better = turned.filter((one) => !right_(one.a) && right_(one.b)).length;
  const worse = turned.filter((one) => right_(one.a) && !right_(one.b)).length;
  return (
    <>
      <section class="panel">
        <div class="filters">
          <Choice
            label="Stream"
            value={String(streams.indexOf(place))}
            options={streams.map((one, index) => [String(index), `${one.stream} (${one.source})`])}
            pick={(value) => {
              const one = streams[Number(value)];
              if (one) go(to({ stream: one.stream, source: one.source }));
            }}
          />
          {all.length > 1 && (
            <Choice label="A is of run" value={run.run} options={all} pick={(value) => go(link("compare", value, { stream: place.stream, source: place.source, with: other.run === value ? "" : other.run }))} />
          )}
          <Choice label="A" value={String(a.step)} options={steps(left)} pick={(value) => go(to({ a: value }), true)} />
          {all.length > 1 && <Choice label="B is of run" value={other.run} options={all} pick={(value) => go(to({ with: value === run.run ? "" : value, b: "" }), true)} />}
          <Choice label="B" value={String(b.step)} options={steps(right)} pick={(value) => go(to({ b: value }), true)} />
        </div>
        <p class="lead">
          From A to B {count(better, "answer")} became right and {count(worse, "answer")} became wrong; {count(chunks.filter((one) => !one.sides.same).length, "chunk")} of {chunks.length} left other texts in the memory.
        </p>
        <div class="scroll" role="region" aria-label="A beside B" tabIndex={0}>
          <table class="side">
            <thead>
              <tr>
                <td />
                <th scope="col">
                  A: <T>{nameA}</T> {a.episode && <a href={link("episode", a.episode)}>episode</a>}
                </th>
                <th scope="col">
                  B: <T>{nameB}</T> {b.episode && <a href={link("episode", b.episode)}>episode</a>}
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map(([words_, one, two]) => (
                <tr key={words_}>
                  <th scope="row">{words_}</th>
                  <td class="number">{one}</td>
                  <td class="number">{two}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <Panel
        title="What is kept of each chunk"
        aside={
          <OnlyDiffering only={only} set={set} />
        }
      >
        <div class="scroll" role="region" aria-label="Kept by chunk" tabIndex={0}>
          <table class="compare">
            <thead>
              <tr>
                <th scope="col">Chunk</th>
                <th scope="col">A: {nameA}</th>
                <th scope="col">B: {nameB}</th>
              </tr>
            </thead>
            <tbody>
              {some.map(({ text, number, sides }) => (
                <tr key={number}>
                  <th scope="row">
                    <span class="chunk-number">
                      {number}
                      {!sides.same && <Differing />}
                    </span>
                    <Long text={text} className="cut" />
                  </th>
                  <Kept texts={sides.a} others={sides.b} column={a} number={number} />
                  <Kept texts={sides.b} others={sides.a} column={b} number={number} />
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {some.length === 0 && <p class="nothing">They keep the same of every chunk.</p>}
      </Panel>
      <Panel title="Answers">
        <div class="scroll" role="region" aria-label="Answers of A and B" tabIndex={0}>
          <table class="compare">
            <thead>
              <tr>
                <th scope="col">Question</th>
                <th scope="col">A: {nameA}</th>
                <th scope="col">B: {nameB}</th>
              </tr>
            </thead>
            <tbody>
              {turned.map(({ one, a: left_, b: right__ }) => (
                <tr key={one.id}>
                  <th scope="row">
                    <T>{one.text}</T>
                    <span class="faint">
                      {" "}
                      gold <T>{one.gold[0] ?? ""}</T>
                    </span>
                    {right_(left_) !== right_(right__) && (
                      <span class={`turned ${right_(right__) ? "good" : "bad"}`}>{right_(right__) ? "▲ became right" : "▼ became wrong"}</span>
                    )}
                  </th>
                  {[left_, right__].map((answer, side) => (
                    <td key={side}>
                      {answer ? (
                        <>
                          <Right right={right_(answer)} /> <T>{answer.answer}</T>
                          {answer.cause && (
                            <p>
                              <Cause causes={run.causes} cause={answer.cause} />
                            </p>
                          )}
                          {(side ? b : a).episode && (
                            <a class="look" href={link("episode", (side ? b : a).episode!, { q: one.id })} aria-label={`why, in ${side ? "B" : "A"}: ${one.id}`}>
                              why
                            </a>
                          )}
                        </>
                      ) : (
                        <span class="faint">not asked</span>
                      )}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
    </>
  );
}

function right_(answer: { cause: string | null; score: number } | undefined): boolean {
  return answer !== undefined && answer.cause === null;
}

function sidesOf(a: CompareColumn, b: CompareColumn, number: number) {
  const [one, two] = [a.kept[number] ?? [], b.kept[number] ?? []];
  const same =
    one.length === two.length && one.every((text) => two.includes(text)) && a.updated[number] === b.updated[number] && a.deleted[number] === b.deleted[number];
  return { a: one, b: two, same };
}

function Kept({ texts, others, column, number }: { texts: string[]; others: string[]; column: CompareColumn; number: number }) {
  const counts = [
    [column.updated[number] ?? 0, "updated"],
    [column.deleted[number] ?? 0, "deleted"],
    [column.failed[number] ?? 0, "failed"],
  ] as const;
  return (
    <td>
      {texts.length === 0 && <span class="faint">keeps nothing</span>}
      <ul class="kept">
        {texts.map((text, place) => (
          <li key={place} class={others.includes(text) ? "" : "alone"}>
            {!others.includes(text) && <span class="tag">here alone</span>} <Long text={text} />
          </li>
        ))}
      </ul>
      {counts.some(([value]) => value > 0) && (
        <p class="faint">
          {counts
            .filter(([value]) => value > 0)
            .map(([value, words]) => `${value} ${words}`)
            .join(", ")}
        </p>
      )}
    </td>
  );
}
