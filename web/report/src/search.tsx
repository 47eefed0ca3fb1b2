// Search over all text of a step, of all evaluations, or of the run. Files are read one after the other and let go.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { load, useRuns } from "./data";
import { crumbs, useStep } from "./groups";
import { Choice, Fault, Head, Loading, partInWords, places, StepChoice, type Place } from "./parts";
import type { RunRecord, SearchRecord, SearchTexts } from "./records";
import { go, link, type Route } from "./route";
import { count, T } from "./text";
import { Rows } from "./virtual";

const MOST = 2_000; // hits that are listed
const AROUND = 60; // characters before a hit

type Hit = { at: string; what: SearchTexts["what"]; place: string; text: string; from: number; part: string; step: number };
type Found = { for: string; hits: Hit[]; read: number; of: number; more: boolean; faults: number };
const NOTHING: Found = { for: "", hits: [], read: 0, of: 0, more: false, faults: 0 };

export function Search({ route }: { route: Route }) {
  const { run, place, fault } = useStep(route);
  const { index } = useRuns();
  const [scope, what, query] = [route.get("in"), route.get("what"), route.get("text")];
  const [typed, type] = useState(query);
  const [found, set] = useState<Found>(NOTHING);
  const field = useRef<HTMLInputElement>(null);
  const change = (words: Record<string, string>) => go(link("search", route.path, { text: typed, in: scope, what, ...words }), true);
  useLayoutEffect(() => field.current?.focus(), [run === undefined]); // before the next key
  useEffect(() => {
    const timer = setTimeout(() => typed !== query && change({ text: typed }), 250);
    return () => clearTimeout(timer);
  }, [typed, query, scope, what]);
  useEffect(() => {
    if (!run || !place) return;
    let wanted = true;
    void look(run, place, scope, what, query, (next) => wanted && set(next), () => wanted);
    return () => {
      wanted = false;
    };
  }, [run?.run, place?.step, place?.part, scope, what, query]);
  if (fault) return <Fault>{fault}</Fault>;
  if (!run || !place) return <Loading />;
  const busy = found.for !== query || found.read < found.of;
  return (
    <>
      <Head up={crumbs(run, (index?.runs.length ?? 0) > 1)} title="Search" />
      <section class="panel">
        <div class="filters">
          <label class="choice grow">
            <span>Text</span>
            <input ref={field} type="search" value={typed} onInput={(event) => type(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
          </label>
          <Choice
            label="In"
            value={scope}
            all="one step"
            options={[["held-out", "all evaluations"], ["training", "all training steps"], ["run", "the whole run"]]}
            pick={(value) => change({ in: value })}
          />
          {!scope && <StepChoice run={run} place={place} view="search" />}
          <Choice
            label="What"
            value={what}
            all="all text"
            options={["chunk", "question", "completion", "item", "answer"].map((one) => [one, `${one}s`])}
            pick={(value) => change({ what: value })}
          />
          <p class="found" role="status">
            {query === "" || found.for !== query ? "" : `${count(found.hits.length, "hit")}${found.more ? " and more" : ""}`}
            {found.for === query && busy && `, ${found.read} of ${found.of} files read`}
            {found.faults > 0 && `, ${count(found.faults, "file")} could not be read`}
          </p>
        </div>
        {query !== "" && (
          <Rows
            rows={found.for === query ? found.hits : []}
            label="Hits"
            height={[58, 78]}
            most={12}
            empty={busy ? "Reading …" : "Nothing has this text."}
            row={(hit) => (
              <a class="line hit-line" href={placeOf(hit)}>
                <Snippet text={hit.text} from={hit.from} long={query.length} />
                <span class="faint">
                  {hit.what} <T>{hit.place}</T>, {partInWords(hit.part, hit.step)}
                </span>
              </a>
            )}
          />
        )}
      </section>
    </>
  );
}

function Snippet({ text, from, long }: { text: string; from: number; long: number }) {
  const start = Math.max(0, from - AROUND);
  return (
    <span class="ellipsis snippet">
      {start > 0 && "… "}
      <bdi>
        <T>{text.slice(start, from)}</T>
        <mark>
          <T>{text.slice(from, from + long)}</T>
        </mark>
        <T>{text.slice(from + long, from + long + 160)}</T>
      </bdi>
    </span>
  );
}

function placeOf({ what, at, place }: Hit): string {
  if (what === "chunk") return link("group", at, { c: place });
  if (what === "question") return link("group", at, { q: place });
  if (what === "completion") return link("episode", at, { c: place });
  if (what === "item") return link("episode", at, { i: place });
  return link("episode", at, { q: place });
}

async function look(
  run: RunRecord,
  place: Place,
  scope: string,
  what: string,
  query: string,
  tell: (found: Found) => void,
  wanted: () => boolean,
): Promise<void> {
  if (query === "") return tell(NOTHING);
  const all = places(run).filter((one) => one.search !== null);
  const some = scope === "run" ? all : scope ? all.filter((one) => one.part === scope) : all.filter((one) => one === place || (one.part === place.part && one.step === place.step));
  const found: Found = { for: query, hits: [], read: 0, of: some.length, more: false, faults: 0 };
  const low = query.toLowerCase();
  tell({ ...found });
  for (const one of some) {
    try {
      const record = await load<SearchRecord>(one.search!, { once: some.length > 2 });
      if (!wanted()) return;
      for (const some of record.texts) {
        if (what && some.what !== what) continue;
        some.texts.forEach((whole, number) => {
          const from = whole.toLowerCase().indexOf(low);
          if (from < 0 || found.more) return;
          if (found.hits.length >= MOST) {
            found.more = true;
            return;
          }
          // A part of the text alone is kept: a slice would hold the whole of it.
          const start = Math.max(0, from - AROUND);
          const cut = start > 0 ? "…" : "";
          const text = cut + copy(whole.slice(start, from + low.length + 160));
          const place = some.places[number]!;
          found.hits.push({ at: some.at, what: some.what, place, text, from: from - start + cut.length, part: one.part, step: one.step });
        });
        if (found.more) break;
      }
    } catch {
      if (!wanted()) return;
      found.faults++;
    }
    found.read++;
    tell({ ...found });
    if (found.more) break;
  }
  tell({ ...found, read: found.of });
}

function copy(text: string): string {
  return JSON.parse(JSON.stringify(text)) as string;
}
