// One episode: what was read and written chunk by chunk, and each question with the way back from its answer: the item,
// the operation that wrote it, the sentence of the chunk.
import { useEffect, useMemo, useState } from "preact/hooks";
import { useGroup } from "./group";
import { useRecord } from "./data";
import { crumbs, goTo } from "./groups";
import { useKeys } from "./keys";
import { Around, beside, Cause, Choice, Code, Credit, Fault, Head, Loading, Panel, partInWords, pathOf, places, Right } from "./parts";
import type { AnswerRow, ChangeRecord, EpisodeRecord, GroupListRecord, GroupRecord, RunRecord, SentenceLink, StepRecord } from "./records";
import { go, link, type Route, type Words } from "./route";
import { count, Diff, figure, Long, score, T, type Mark } from "./text";
import { Rows } from "./virtual";

type Here = {
  run: RunRecord;
  episode: EpisodeRecord;
  group: GroupRecord;
  /** A link into this episode; what is not said stays as it is. */
  to: (words: Words) => string;
  chunk: number;
  question: string;
  item: string;
  operation: string;
  sentence: string;
};

export function nameOf(one: SentenceLink): string {
  return `${one.chunk}.${one.start}.${one.end}`;
}

export function Episode({ route }: { route: Route }) {
  const found = useRecord<EpisodeRecord>(route.path);
  const { group, run, place, list, many, ...still } = useGroup(found.record?.group);
  const [reading, listing] = found.fault ? [false, false] : [still.reading, still.listing];
  const words = { c: route.get("c"), q: route.get("q"), i: route.get("i"), o: route.get("o"), s: route.get("s") };
  const episode = found.record;
  const episodes = useMemo(() => list.flatMap((row) => row.episodes), [list]);
  const to = (change: Words) => link("episode", route.path, { ...words, ...change });
  const chunks = episode?.steps.length ?? 0;
  const chunk = words.c === "" ? -1 : Math.max(0, Math.min(chunks - 1, Number(words.c) || 0));
  const at = episodes.indexOf(route.path);
  const inList = list.findIndex((row) => row.group === episode?.group);
  const [before, after] = [beside(episodes, at, -1), beside(episodes, at, 1)].map((one) => one && link("episode", one));
  const [groupBefore, groupAfter] = [beside(list, inList, -1), beside(list, inList, 1)].map((row) => row?.episodes[0] && link("episode", row.episodes[0]));
  const same = places(run).filter((one) => one.part === place?.part);
  const step = same.findIndex((one) => one.step === place?.step);
  const [lower, higher] = [beside(same, step, -1), beside(same, step, 1)];
  // The same stream in the step before or after, where it is there: what a held-out stream is looked at for.
  const lowerList = useRecord<GroupListRecord>(lower?.groups);
  const higherList = useRecord<GroupListRecord>(higher?.groups);
  const twin = (rows: GroupListRecord | null) => {
    const row = rows?.groups.find((one) => one.stream === group.record?.stream && one.source === group.record?.source) ?? rows?.groups[0];
    const name = row?.episodes[episode?.index ?? 0] ?? row?.episodes[0];
    return name && link("episode", name, row?.stream === group.record?.stream ? { q: words.q } : {});
  };
  const [stepBefore, stepAfter] = [twin(lowerList.record), twin(higherList.record)];
  const move = (by: number) => () => {
    if (chunks > 0) go(to({ c: Math.max(0, Math.min(chunks - 1, chunk < 0 && by < 0 ? 0 : chunk + by)), o: "", s: "", i: "" }), true);
  };
  const ask = (by: number) => () => {
    const answers = episode?.answers ?? [];
    const now = answers.findIndex((one) => one.question === words.q);
    const next = answers[Math.max(0, Math.min(answers.length - 1, now + by))];
    if (next) go(to({ q: next.question, i: "", o: "", s: "", c: "" }), true);
  };
  const read = (act: () => void) => (reading ? undefined : episode ? act : null);
  useKeys({
    c: read(move(1)), j: read(move(1)), C: read(move(-1)), k: read(move(-1)), q: read(ask(1)), Q: read(ask(-1)),
    e: goTo(after, listing), E: goTo(before, listing), g: goTo(groupAfter, listing), G: goTo(groupBefore, listing),
    s: goTo(stepAfter, reading || higherList.reading), S: goTo(stepBefore, reading || lowerList.reading),
    u: goTo(episode ? link("group", episode.group) : undefined, reading),
  }); // prettier-ignore
  const ready = episode !== null && group.record !== null && run !== undefined;
  useEffect(() => {
    if (!ready) return;
    const seen =
      (words.s && document.querySelector(`[data-sentence="${CSS.escape(words.s)}"]`)) ||
      (words.o && document.getElementById(`op-${words.o}`)) ||
      (words.c && document.getElementById(`chunk-${chunk}`));
    if (seen) seen.scrollIntoView({ block: words.s || words.o ? "center" : "start" });
  }, [ready, words.s, words.o, words.c, route.path]);
  if (found.fault || group.fault) return <Fault>{found.fault || group.fault}</Fault>;
  if (!episode || !group.record || !run) return <Loading />;
  const here: Here = { run, episode, group: group.record, to, chunk, question: words.q, item: words.i, operation: words.o, sentence: words.s };
  const up = crumbs(run, many);
  if (place) up.push([partInWords(episode.part, episode.step), link("groups", pathOf(run.run, place))]);
  up.push([group.record.stream, link("group", episode.group)]);
  const right = episode.answers.filter((one) => one.right).length;
  return (
    <>
      <Head up={up} title={episode.part === "held-out" ? `Episode at step ${episode.step}` : `Episode ${episode.index} of step ${episode.step}`}>
        <p class="facts">
          <span>
            <strong>
              {right} of {count(episode.answers.length, "answer")}
            </strong>{" "}
            right
          </span>
          <span>
            paid <strong>{figure(episode.total)}</strong>
            {Object.entries(episode.parts).map(([part, value]) => (
              <span key={part}>
                , <T>{part}</T> {figure(value)}
              </span>
            ))}
          </span>
          <span>
            {count(episode.chunk_tokens, "token")} read, {count(episode.memory_tokens, "token")} kept
          </span>
        </p>
        <div class="tools">
          <Around name="episode" keys="e" before={before} after={after} />
          <Around name="group" keys="g" before={groupBefore} after={groupAfter} />
          <Around name="step" keys="s" before={stepBefore} after={stepAfter} />
          <span class="jumps">
            <a href={to({ c: 0, o: "", s: "" })}>chunks</a>
            <button onClick={() => document.getElementById("questions")?.scrollIntoView()}>questions</button>
          </span>
        </div>
      </Head>
      <div class="episode">
        <div class="reading">
          <Strip here={here} />
          {episode.steps.map((one, place) => (
            <Chunk key={place} here={here} step={one} place={place} />
          ))}
        </div>
        <div class="asking">
          <Questions here={here} />
          <Memory here={here} />
          <Prompts episode={episode} />
        </div>
      </div>
    </>
  );
}

/** All chunks as bars of credit, or of what memory has grown to where there is none. */
function Strip({ here }: { here: Here }) {
  const { episode, to, chunk } = here;
  const taught = episode.steps.some((one) => one.advantage !== null);
  const top = Math.max(1e-9, ...episode.steps.map((one) => (taught ? Math.abs(one.advantage ?? 0) : one.memory_tokens)));
  return (
    <nav class={`strip ${taught ? "" : "tokens"}`} aria-label="Chunks">
      <span class="strip-name">{taught ? "credit by chunk" : "memory by chunk, tokens"}</span>
      <ol>
        {episode.steps.map((one, place) => {
          const value = taught ? (one.advantage ?? 0) : one.memory_tokens;
          const high = (Math.abs(value) / top) * (taught ? 50 : 100);
          const words = taught ? `credit ${one.advantage === null ? "none" : value.toFixed(2)}` : `${value} tokens`;
          return (
            <li key={place}>
              <a
                href={to({ c: place, o: "", s: "", i: "" })}
                aria-label={`chunk ${place}, ${words}, ${count(one.changes.length, "change")}`}
                aria-current={chunk === place ? "step" : undefined}
                title={`chunk ${place}: ${words}`}
              >
                <span class="strip-bar">
                  <span
                    class={value < 0 ? "less" : "more-than"}
                    style={value < 0 ? { top: "50%", height: `${high}%` } : { bottom: taught ? "50%" : "0", height: `${high}%` }}
                  />
                </span>
                <span class="strip-number">{place}</span>
              </a>
            </li>
          );
        })}
      </ol>
    </nav>
  );
}

function Chunk({ here, step, place }: { here: Here; step: StepRecord; place: number }) {
  const { episode, group, sentence } = here;
  const source = group.chunks[step.chunk];
  const top = Math.max(0, ...episode.steps.map((one) => Math.abs(one.advantage ?? 0)));
  const marks = useMemo(() => marksOf(here, step, place), [episode, group, place, sentence, here.question]);
  const now = here.chunk === place;
  return (
    <article class={`panel chunk ${now ? "now" : ""}`} id={`chunk-${place}`} aria-current={now ? "step" : undefined} aria-label={`Chunk ${step.chunk}`}>
      <header class="chunk-head">
        <h2>Chunk {step.chunk}</h2>
        {source?.time && (
          <span class="faint">
            <T>{source.time}</T>
          </span>
        )}
        <span class="faint">
          memory {figure(step.memory_tokens_before)} → {count(step.memory_tokens, "token")}
        </span>
        {step.stop === "length" && <span class="code bad">✗ cut at the length</span>}
        {step.advantage !== null && <Credit value={step.advantage} most={top} />}
      </header>
      {source ? <Long text={source.text} marks={marks} className="source" /> : <p class="nothing">The run did not keep the text.</p>}
      <Changes here={here} step={step} place={place} />
      <Calls step={step} />
      <div class="raws">
        <details>
          <summary>Prompt: the memory as it was shown ({count(step.prompt_tokens, "token")} with the chunk)</summary>
          {step.seen ? <Long text={step.seen} className="raw" /> : <p class="nothing">not kept</p>}
        </details>
        <details>
          <summary>Completion as it was written ({count(step.completion_tokens, "token")})</summary>
          <Long text={step.completion} className="raw" />
        </details>
        {step.turns.map((turn, number) => (
          <details key={number}>
            <summary>
              Turn {number + 2}: what the search found, and the completion after it ({count(turn.completion_tokens, "token")}
              {turn.stop === "length" && ", cut at the length"})
            </summary>
            <Long text={turn.told} className="raw" />
            <Long text={turn.completion} className="raw" />
          </details>
        ))}
        {Object.keys(step.parts).length > 0 && (
          <p class="faint">
            paid at this chunk:{" "}
            {Object.entries(step.parts).map(([part, value], index) => (
              <span key={part}>
                {index > 0 && ", "}
                <T>{part}</T> {figure(value)}
              </span>
            ))}
          </p>
        )}
      </div>
    </article>
  );
}

/** Sentences that say an answer; the one looked at, and those of the chosen question, are lit. */
function marksOf(here: Here, step: StepRecord, place: number): Mark[] {
  const marks = new Map<string, Mark>();
  const add = (one: { start: number; end: number }, title: string, lit: boolean) => {
    const id = `${step.chunk}.${one.start}.${one.end}`;
    const before = marks.get(id);
    marks.set(id, { start: one.start, end: one.end, id, title: before ? `${before.title}; ${title}` : title, lit: lit || (before?.lit ?? false) || id === here.sentence });
  };
  for (const one of here.group.chunks[step.chunk]?.sentences ?? [])
    add(one, `says the answer of ${one.questions.join(", ")}`, here.question !== "" && one.questions.includes(here.question));
  const places = here.episode.steps[place]?.changes ?? [];
  for (const change of places) {
    const one = change.sentence;
    if (one && one.chunk === step.chunk && `${one.chunk}.${one.start}.${one.end}` === here.sentence) add(one, `${change.item} was written from it`, true);
  }
  for (const answer of here.episode.answers) {
    if (answer.question !== here.question) continue;
    for (const one of [...answer.evidence, ...(answer.why?.sentence ? [answer.why.sentence] : [])]) if (one.chunk === step.chunk) add(one, "says the answer", true);
  }
  return [...marks.values()];
}

const OPERATIONS = {
  insert: ["+", "added", "add"],
  update: ["~", "changed", "alter"],
  delete: ["−", "deleted", "delete"],
} as const;

function Changes({ here, step, place }: { here: Here; step: StepRecord; place: number }) {
  if (step.changes.length === 0) return <p class="nothing">The memory stays as it was.</p>;
  const stores = [...new Set(step.changes.map((one) => one.store ?? ""))];
  return (
    <div class="changes">
      {stores.map((store) => (
        <section key={store}>
          <h3>
            <T>{store || "memory"}</T>
          </h3>
          <ul>
            {step.changes.map((one, index) =>
              (one.store ?? "") === store ? <Change key={index} here={here} change={one} id={`${place}-${index}`} /> : null,
            )}
          </ul>
        </section>
      ))}
    </div>
  );
}

function Change({ here, change, id }: { here: Here; change: ChangeRecord; id: string }) {
  const [sign, words, look] = OPERATIONS[change.op];
  return (
    <li class={`change ${look} ${here.operation === id ? "lit" : ""}`} id={`op-${id}`}>
      <span class="change-sign" aria-hidden="true">
        {sign}
      </span>
      <div class="change-body">
        <p class="change-head">
          <strong>{words}</strong> <T className="id">{change.item}</T>
          {change.tokens !== null && (
            <span class="faint">
              {" "}
              {change.tokens < 0 ? "−" : "+"}
              {count(Math.abs(change.tokens), "token")}
            </span>
          )}
          {change.sentence && (
            <a class="to-sentence" href={here.to({ s: nameOf(change.sentence), c: "", o: id })}>
              from the sentence
            </a>
          )}
        </p>
        {change.before !== null && change.after !== null ? (
          <Diff before={change.before} after={change.after} />
        ) : change.after !== null ? (
          <Long text={change.after} />
        ) : (
          <del>
            <Long text={change.before ?? ""} />
          </del>
        )}
        {change.false && (
          <p class="false">
            <strong>Not to be trusted: </strong>
            <T>{change.false}</T>
          </p>
        )}
      </div>
    </li>
  );
}

function Calls({ step }: { step: StepRecord }) {
  if (step.calls.length === 0) return <p class="nothing">No tool was called.</p>;
  return (
    <ul class="calls" aria-label="Tool calls">
      {step.calls.map((call, place) => (
        <li key={place}>
          <span class="call-name">
            <T>{call.name}</T>
          </span>{" "}
          {Object.entries(call.arguments).map(([key, value]) => (
            <span class="argument" key={key}>
              <span class="faint">
                <T>{key}</T>
              </span>{" "}
              <T>{value}</T>
            </span>
          ))}
          <span class="call-result">
            <span aria-hidden="true">→ </span>
            <Code code={call.code} />
            {call.item && (
              <>
                {" "}
                <T className="id">{call.item}</T>
              </>
            )}
            {call.message && (
              <span class="faint">
                {" "}
                <T>{call.message}</T>
              </span>
            )}
          </span>
        </li>
      ))}
    </ul>
  );
}

// Questions --------------------------------------------------------------------------------------------------------

function Questions({ here }: { here: Here }) {
  const { episode, group, run, question, to } = here;
  const [, draw] = useState(0);
  const only = recallOnly(here);
  const texts = useMemo(() => new Map(group.questions.map((one) => [one.id, one])), [group]);
  const rows = useMemo(
    () => episode.answers.filter((one) => only === "" || (only === "wrong" ? !one.right : one.why?.cause === only)),
    [episode, only],
  );
  const chosen = episode.answers.find((one) => one.question === question);
  const causes = run.causes.filter((cause) => episode.answers.some((one) => one.why?.cause === cause.key));
  return (
    <Panel
      title="Questions"
      id="questions"
      aside={
        <Choice
          label="Show"
          value={only}
          all={`all ${episode.answers.length}`}
          options={[["wrong", "wrong ones"], ...causes.map((one) => [one.key, one.label] as [string, string])]}
          pick={(value) => {
            onlies.set(here.episode.run, value);
            draw((times) => times + 1);
          }}
        />
      }
    >
      <Rows
        rows={rows}
        label="Questions of this episode"
        height={[52, 58]}
        most={5}
        chosen={rows.findIndex((one) => one.question === question)}
        empty="No question here."
        row={(one) => (
          <a
            class="line question-line"
            href={to({ q: one.question, i: "", o: "", s: "", c: "" })}
            aria-current={one.question === question ? "true" : undefined}
          >
            <T className="ellipsis">{texts.get(one.question)?.text ?? one.question}</T>
            <span class="question-state">
              <Right right={one.right} />
              {one.why && <Cause causes={run.causes} cause={one.why.cause} />}
              <span class="faint">
                <T>{one.kind}</T>
              </span>
            </span>
          </a>
        )}
      />
      {chosen ? (
        <Answer here={here} answer={chosen} text={texts.get(chosen.question)?.text ?? ""} gold={texts.get(chosen.question)?.gold ?? []} />
      ) : (
        <p class="nothing">Choose a question to see what was retrieved, and where it came from.</p>
      )}
    </Panel>
  );
}

const onlies = new Map<string, string>();

function recallOnly(here: Here): string {
  const value = onlies.get(here.episode.run) ?? "";
  return value === "wrong" || here.episode.answers.some((one) => one.why?.cause === value) ? value : "";
}

function Answer({ here, answer, text, gold }: { here: Here; answer: AnswerRow; text: string; gold: string[] }) {
  const { run, to } = here;
  return (
    <div class="answer" id="answer">
      <Long text={text} className="asked" />
      <dl class="answer-facts">
        <dt>Answer</dt>
        <dd>
          <Right right={answer.right} /> <Long text={answer.answer} />
        </dd>
        <dt>Gold</dt>
        <dd>
          {gold.map((one, place) => (
            <span key={place}>
              {place > 0 && <span class="faint"> or </span>}
              <T>{one}</T>
            </span>
          ))}
        </dd>
        <dt>Score</dt>
        <dd>
          {score(answer.score)}{" "}
          <span class="faint">
            <T>{answer.metric}</T>
            {answer.metric_score !== null && ` ${score(answer.metric_score)}`}
          </span>
        </dd>
        {answer.verdict && (
          <>
            <dt>Verdict</dt>
            <dd>
              {answer.verdict.accepted ? "accepted" : "refused"}{" "}
              <span class="faint">
                by rubric <T>{answer.verdict.rubric}</T>
              </span>
              {answer.verdict.reason && <Long text={answer.verdict.reason} />}
            </dd>
          </>
        )}
      </dl>
      {answer.why && (
        <div class="why">
          <p>
            <Cause causes={run.causes} cause={answer.why.cause} />
          </p>
          <p>
            <T>{answer.why.detail}</T>
          </p>
          <p class="links">
            {answer.why.item && <a href={to({ i: answer.why.item, o: "", s: "" })}>the item</a>}
            {answer.why.sentence && <a href={to({ s: nameOf(answer.why.sentence), c: "", o: "" })}>the sentence</a>}
            {answer.why.step !== null && <a href={to({ c: answer.why.step, s: "", o: "" })}>chunk {here.episode.steps[answer.why.step]?.chunk ?? answer.why.step}</a>}
          </p>
        </div>
      )}
      {answer.evidence.length > 0 && (
        <>
          <h3>Sentences that say it</h3>
          <ul class="plain">
            {answer.evidence.map((one) => (
              <li key={nameOf(one)}>
                <Sentence here={here} sentence={one} />
              </li>
            ))}
          </ul>
        </>
      )}
      <h3>What the reader was shown</h3>
      {answer.shown.length === 0 && <p class="nothing">No item of the memory.</p>}
      <ul class="plain shown">
        {answer.shown.map((one, place) => (
          <li key={place} class={here.item === one.id ? "lit" : ""}>
            <a class="to-item" href={to({ i: here.item === one.id ? "" : one.id, o: "", s: "" })} aria-expanded={here.item === one.id}>
              <T className="id">{one.id}</T> <T>{without(one.text, one.id)}</T>
            </a>
            {(one.says_answer || one.taken) && (
              <span class="tags">
                {one.says_answer && <span class="tag good">✓ says the answer</span>}
                {one.taken && <span class="tag">← the answer may be from it</span>}
              </span>
            )}
            {here.item === one.id && <Trail here={here} item={one.id} />}
          </li>
        ))}
      </ul>
      {here.item && !answer.shown.some((one) => one.id === here.item) && (
        <div class="not-shown">
          <h3>
            Item <T>{here.item}</T>, which was not shown
          </h3>
          <Trail here={here} item={here.item} />
        </div>
      )}
    </div>
  );
}

function without(text: string, id: string): string {
  if (text.startsWith(`${id}: `)) return text.slice(id.length + 2);
  return text.startsWith(`${id} (`) ? text.slice(id.length + 1) : text; // its time
}

function Sentence({ here, sentence }: { here: Here; sentence: SentenceLink }) {
  const id = nameOf(sentence);
  return (
    <a class={`to-sentence ${here.sentence === id ? "lit" : ""}`} href={here.to({ s: id, c: "" })}>
      <span class="faint">chunk {sentence.chunk}: </span>“<T>{sentence.text}</T>”
    </a>
  );
}

/** From an item to the operations that it is of, the last first, and the sentences that they were written from. */
function Trail({ here, item }: { here: Here; item: string }) {
  const { episode, to } = here;
  const found = episode.items.find((one) => one.id === item);
  const operations = episode.steps.flatMap((step, place) =>
    step.changes.flatMap((change, index) => (change.item === item ? [{ step, place, change, index }] : [])),
  );
  if (operations.length === 0) return <p class="nothing">No operation of this episode wrote it.</p>;
  return (
    <div class="trail">
      {found ? (
        found.origin === null && <p class="faint">It is in the memory at the end.</p>
      ) : (
        <p class="faint">It is not in the memory at the end.</p>
      )}
      <ol>
        {[...operations].reverse().map(({ step, place, change, index }) => {
          const id = `${place}-${index}`;
          const [sign, words, look] = OPERATIONS[change.op];
          return (
            <li key={id}>
              <a class={`to-operation ${look} ${here.operation === id ? "lit" : ""}`} href={to({ o: id, s: "", c: "" })}>
                <span aria-hidden="true">{sign} </span>
                {words} at chunk {step.chunk}
              </a>
              {change.sentence ? <Sentence here={{ ...here, to: (more) => to({ o: id, ...more }) }} sentence={change.sentence} /> : <span class="faint">from no sentence of that chunk</span>}
            </li>
          );
        })}
      </ol>
    </div>
  );
}

function Memory({ here }: { here: Here }) {
  const { episode, to } = here;
  const stores = [...new Set(episode.items.map((one) => one.store ?? ""))];
  return (
    <Panel
      title="Memory at the end"
      aside={
        <span class="faint">
          {count(episode.items.length, "item")}, {count(episode.memory_tokens, "token")}
        </span>
      }
    >
      {episode.items.length === 0 && <p class="nothing">Nothing is kept.</p>}
      {stores.map((store) => {
        const items = episode.items.filter((one) => (one.store ?? "") === store);
        return (
          <section key={store}>
            <h3>
              <T>{store || "memory"}</T>
            </h3>
            <Rows
              rows={items}
              label={`Items of ${store || "the memory"}`}
              height={[46, 54]}
              most={7}
              empty=""
              chosen={items.findIndex((one) => one.id === here.item)}
              row={(one) => (
                <a
                  class="line item-line"
                  aria-current={one.id === here.item ? "true" : undefined}
                  href={to(one.origin ? { i: one.id, o: `${one.origin.step}-${one.origin.change}`, s: "", c: "" } : { i: one.id })}
                >
                  <T className="ellipsis">{one.text}</T>
                  <span class="faint">
                    <T>{one.id}</T>
                    {one.time && (
                      <>
                        , <T>{one.time}</T>
                      </>
                    )}
                    {one.origin && `, written at chunk ${episode.steps[one.origin.step]?.chunk ?? one.origin.step}`}
                    {one.origin && one.origin.step !== one.origin.first_step && `, first at chunk ${episode.steps[one.origin.first_step]?.chunk ?? one.origin.first_step}`}
                  </span>
                </a>
              )}
            />
          </section>
        );
      })}
      {here.item && !here.question && (
        <div class="not-shown">
          <h3>
            How <T>{here.item}</T> came about
          </h3>
          <Trail here={here} item={here.item} />
        </div>
      )}
    </Panel>
  );
}

function Prompts({ episode }: { episode: EpisodeRecord }) {
  return (
    <details class="panel prompts">
      <summary>Instructions and meters</summary>
      <h3>Of the policy</h3>
      <Long text={episode.instruction} className="raw" />
      <h3>Of the reader</h3>
      <Long text={episode.reader} className="raw" />
      <h3>Meters</h3>
      <p>
        {Object.entries(episode.meters).map(([key, value], place) => (
          <span key={key}>
            {place > 0 && <span class="faint"> · </span>}
            <T>{key}</T> <strong>{figure(value)}</strong>
          </span>
        ))}
      </p>
      <p class="faint">
        seed {episode.seed}
        {episode.version !== null && `, policy of version ${episode.version}`}
      </p>
    </details>
  );
}
