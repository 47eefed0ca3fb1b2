// The episodes of one stream side by side: parts, credit per step, and where they differ.
import { useState } from "preact/hooks";
import { useRecord, useRuns } from "./data";
import { crumbs, goTo, stepsAround } from "./groups";
import { useKeys } from "./keys";
import { Around, beside, Credit, Differing, Fault, Head, Loading, OnlyDiffering, Panel, partInWords, pathOf, placeOf } from "./parts";
import type { EpisodeRow, GroupListRecord, GroupRecord } from "./records";
import { link, type Route } from "./route";
import { count, figure, Long, score, T } from "./text";

/** The group, its neighbours in the list of its step, and the same stream's group in the steps around. */
export function useGroup(name: string | null | undefined) {
  const { runs, index, fault } = useRuns();
  const group = useRecord<GroupRecord>(name);
  const run = group.record ? runs.get(group.record.run) : undefined;
  const place = group.record ? placeOf(run, group.record.part, group.record.step) : undefined;
  const list = useRecord<GroupListRecord>(place?.groups);
  const reading = !fault && !group.fault && !(group.record && run);
  const listing = reading || list.reading;
  return { group, run, place, list: list.record?.groups ?? [], many: (index?.runs.length ?? 0) > 1, reading, listing };
}

export function Group({ route }: { route: Route }) {
  const { group, run, place, list, many, reading, listing } = useGroup(route.path);
  const here = list.findIndex((row) => row.group === route.path);
  const [before, after] = [beside(list, here, -1), beside(list, here, 1)].map((row) => row && link("group", row.group));
  const [stepBefore, stepAfter] = run && place ? stepsAround(run, place.part, place.step, "groups") : [];
  const first = group.record?.episodes[0];
  useKeys({
    g: goTo(after, listing),
    G: goTo(before, listing),
    s: goTo(stepAfter, reading),
    S: goTo(stepBefore, reading),
    e: goTo(first && link("episode", first.episode), reading),
    u: goTo(run && place && link("groups", pathOf(run.run, place)), reading),
  });
  if (group.fault) return <Fault>{group.fault}</Fault>;
  const record = group.record;
  if (!record || !run) return <Loading />;
  const up = crumbs(run, many);
  if (place) up.push([partInWords(record.part, record.step), link("groups", pathOf(run.run, place))]);
  return (
    <>
      <Head up={up} title={<T>{record.stream}</T>}>
        <p class="facts">
          <span>
            source <T>{record.source}</T>
          </span>
          <span>{count(record.chunks.length, "chunk")}</span>
          <span>{count(record.questions.length, "question")}</span>
          <span>{count(record.episodes.length, "episode")}</span>
        </p>
        <div class="tools">
          <Around name="group" keys="g" before={before} after={after} />
          <Around name="step" keys="s" before={stepBefore} after={stepAfter} />
          {placeCompare(run.streams, record) && (
            <a href={link("compare", run.run, { stream: record.stream, source: record.source })}>compare over steps</a>
          )}
        </div>
      </Head>
      <Episodes record={record} />
      <ByChunk record={record} chunk={route.get("c")} />
      <ByQuestion record={record} />
    </>
  );
}

function placeCompare(streams: { stream: string; source: string }[], record: GroupRecord): boolean {
  return streams.some((one) => one.stream === record.stream && one.source === record.source);
}

function Names({ episodes }: { episodes: EpisodeRow[] }) {
  return (
    <>
      {episodes.map((one) => (
        <th scope="col" key={one.episode}>
          <a class="to-episode" href={link("episode", one.episode)}>
            episode {one.index}
          </a>
        </th>
      ))}
    </>
  );
}

function Episodes({ record }: { record: GroupRecord }) {
  const parts = [...new Set(record.episodes.flatMap((one) => Object.keys(one.parts)))];
  const rows: [string, (one: EpisodeRow) => string][] = [
    ["accuracy", (one) => score(one.qa)],
    ["paid in all", (one) => figure(one.total)],
    ...parts.map((part) => [part, (one: EpisodeRow) => figure(one.parts[part])] as [string, (one: EpisodeRow) => string]),
    ["memory, tokens", (one) => figure(one.memory_tokens)],
  ];
  return (
    <Panel title="Side by side" aside={<span class="faint">● the most of its row</span>}>
      <div class="scroll" role="region" aria-label="Episodes side by side" tabIndex={0}>
        <table class="side">
          <thead>
            <tr>
              <td />
              <Names episodes={record.episodes} />
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, of], place) => {
              const values = record.episodes.map((one) => of(one));
              const best = most(record.episodes, name, parts);
              return (
                <tr key={place}>
                  <th scope="row">
                    <T>{name}</T>
                  </th>
                  {values.map((value, column) => (
                    <td key={column} class="number">
                      {best.has(column) && <span aria-hidden="true">● </span>}
                      {value}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function most(episodes: EpisodeRow[], name: string, parts: string[]): Set<number> {
  const of = (one: EpisodeRow) =>
    name === "accuracy" ? one.qa : name === "paid in all" ? one.total : parts.includes(name) ? (one.parts[name] ?? 0) : one.memory_tokens;
  const values = episodes.map(of);
  const top = Math.max(...values);
  if (episodes.length < 2 || values.every((value) => value === top)) return new Set();
  return new Set(values.flatMap((value, place) => (value === top ? [place] : [])));
}

function ByChunk({ record, chunk }: { record: GroupRecord; chunk: string }) {
  const [only, set] = useState(false);
  const steps = Math.max(record.chunks.length, ...record.episodes.map((one) => one.operations.length));
  const top = Math.max(0, ...record.episodes.flatMap((one) => one.advantages.map((value) => Math.abs(value ?? 0))));
  const numbers = Array.from({ length: steps }, (_, number) => number).filter((n) => !only || record.differ.includes(n));
  const differ = record.episodes.length > 1;
  return (
    <Panel
      title="Chunk by chunk"
      aside={
        differ && (
          <OnlyDiffering only={only} set={set} count={`${record.differ.length} of ${steps}`} />
        )
      }
    >
      <div class="scroll" role="region" aria-label="Episodes by chunk" tabIndex={0}>
        <table class="by-chunk">
          <thead>
            <tr>
              <th scope="col">Chunk</th>
              <Names episodes={record.episodes} />
            </tr>
          </thead>
          <tbody>
            {numbers.map((number) => (
              <tr key={number} class={chunk === String(number) ? "chosen" : ""}>
                <th scope="row">
                  <span class="chunk-number">
                    {number}
                    {differ && record.differ.includes(number) && <Differing />}
                  </span>
                  {record.chunks[number] && <Long text={record.chunks[number].text} className="cut" />}
                </th>
                {record.episodes.map((one) => (
                  <td key={one.episode}>
                    {one.advantages[number] !== null && one.advantages[number] !== undefined && (
                      <Credit value={one.advantages[number]} most={top} small />
                    )}
                    <a class="operations" href={link("episode", one.episode, { c: number })}>
                      {(one.operations[number] ?? []).length === 0 ? (
                        <span class="faint">wrote nothing</span>
                      ) : (
                        one.operations[number]!.map((operation, place) => <Operation key={place} text={operation} />)
                      )}
                    </a>
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

const SIGNS: Record<string, [string, string]> = { "+": ["added", "add"], "~": ["changed", "alter"], "-": ["deleted", "delete"] };

function Operation({ text }: { text: string }) {
  const known = text[1] === " " ? SIGNS[text[0]!] : undefined;
  return (
    <span class={`operation ${known ? known[1] : "fail"}`}>
      {known ? (
        <>
          <span aria-hidden="true">{text[0] === "-" ? "−" : text[0]} </span>
          <span class="hidden">{known[0]} </span>
          <T>{text.slice(2)}</T>
        </>
      ) : (
        <>
          <span aria-hidden="true">✗ </span>
          <T>{text}</T>
        </>
      )}
    </span>
  );
}

function ByQuestion({ record }: { record: GroupRecord }) {
  const [only, set] = useState(false);
  const differ = new Set(record.differ_questions);
  const some = record.questions.filter((one) => !only || differ.has(one.id));
  return (
    <Panel
      title="Question by question"
      aside={
        record.episodes.length > 1 && (
          <OnlyDiffering only={only} set={set} count={`${differ.size} of ${record.questions.length}`} />
        )
      }
    >
      <div class="scroll" role="region" aria-label="Episodes by question" tabIndex={0}>
        <table class="by-question">
          <thead>
            <tr>
              <th scope="col">Question</th>
              <th scope="col">gold</th>
              <Names episodes={record.episodes} />
            </tr>
          </thead>
          <tbody>
            {some.map((one) => (
              <tr key={one.id}>
                <th scope="row">
                  <Long text={one.text} className="cut" />
                  <span class="faint">
                    <T>{one.id}</T>, <T>{one.kind}</T>
                    {differ.has(one.id) && <Differing />}
                  </span>
                </th>
                <td>
                  <T>{one.gold[0] ?? ""}</T>
                </td>
                {record.episodes.map((episode) => {
                  const value = episode.scores[one.id];
                  const right = (value ?? 0) >= 0.5;
                  return (
                    <td key={episode.episode}>
                      {value === undefined ? (
                        <span class="faint">not asked</span>
                      ) : (
                        <a class={right ? "good" : "bad"} href={link("episode", episode.episode, { q: one.id })}>
                          <span aria-hidden="true">{right ? "✓ " : "✗ "}</span>
                          {score(value)}
                        </a>
                      )}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
