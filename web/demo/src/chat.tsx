// The conversation: what is said is read, what is asked is answered from the memory alone.
import { useEffect, useRef, useState } from "preact/hooks";
import { Long, T } from "../../report/src/text";
import type { Change, Result } from "./api";
import { ChangeText, kindOf, Said, Sign } from "./change";
import { isQuestion, type Actions, type Entry, type Shown, type State } from "./state";

const OFFERED = 3; // examples at once
const TODAY = new Intl.DateTimeFormat("en", { month: "long", day: "numeric" });

type Mode = "auto" | "read" | "ask";
const MODES: [Mode, string][] = [
  ["auto", "a “?” at the end asks"],
  ["read", "read"],
  ["ask", "ask"],
];

type Props = { state: State; actions: Actions; point: (item: string) => void };

export function Chat({ state, actions, point }: Props) {
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [state.entries]);
  return (
    <section class="panel chat" aria-label="Chat">
      <h2>Chat</h2>
      <div class="log" ref={log} role="log" aria-label="Conversation" tabIndex={0}>
        <Intro state={state} />
        {state.entries.map((entry, place) => (
          <EntryView key={place} entry={entry} point={point} />
        ))}
      </div>
      <Box state={state} actions={actions} />
    </section>
  );
}

function Intro({ state }: { state: State }) {
  return (
    <div class="intro">
      <p>Say something, and the agent decides what to keep of it. Ask, and it answers from what it has kept, and from nothing else.</p>
      {state.facts?.embedded && (
        <p>
          This agent is the embedded model, or was trained from it: it knows the few names and phrases of its own small world (who
          lives where, works as what, owns, likes, plays or speaks what, and what happened when) and reads some three short
          sentences at a time. Take the examples, and change them.
        </p>
      )}
    </div>
  );
}

function EntryView({ entry, point }: { entry: Entry; point: (item: string) => void }) {
  switch (entry.kind) {
    case "said":
      return (
        <div class="entry you">
          <span class="who">{entry.asked ? "you ask" : "you say"}</span>
          <Long text={entry.text} />
        </div>
      );
    case "kept":
      return <Kept entry={entry} point={point} />;
    case "answer":
      return (
        <div class="entry agent">
          <span class="who">answer</span>
          <p class="answer">{entry.text.trim() ? <T>{entry.text}</T> : <span class="faint">no word</span>}</p>
          <Sources shown={entry.shown} point={point} />
        </div>
      );
    case "done":
      return (
        <div class="entry agent">
          <span class="who">
            <T>{entry.words}</T>
          </span>
          {entry.changes.length === 0 && <p class="faint">Nothing has changed.</p>}
          <Changes changes={entry.changes} point={point} />
        </div>
      );
    case "fault":
      return (
        <p class="entry fault">
          <T>{entry.text}</T>
        </p>
      );
  }
}

function Kept({ entry, point }: { entry: Entry & { kind: "kept" }; point: (item: string) => void }) {
  return (
    <div class="entry agent">
      <span class="who">
        {entry.done ? "kept" : "reads …"}
        {entry.pieces > 1 && ` ${entry.piece} of ${entry.pieces} pieces`}
      </span>
      <Changes changes={entry.changes} point={point} />
      {entry.done && entry.changes.length === 0 && <p class="faint">Nothing of it.</p>}
      {entry.failed.map((one, place) => (
        <Failed key={place} result={one} />
      ))}
    </div>
  );
}

function Failed({ result }: { result: Result }) {
  return (
    <p class="failed">
      A call of the policy failed: <T className="code">{result.code}</T>
      {result.message && (
        <>
          {" "}
          (<T>{result.message}</T>)
        </>
      )}
    </p>
  );
}

function Changes({ changes, point }: { changes: Change[]; point: (item: string) => void }) {
  return (
    <ul class="changes">
      {changes.map((change) => (
        <li key={change.number}>
          <Sign kind={kindOf(change)} />
          <ToItem item={change.item_id} point={point} />
          <ChangeText change={change} />
        </li>
      ))}
    </ul>
  );
}

function Sources({ shown, point }: { shown: Shown[]; point: (item: string) => void }) {
  if (shown.length === 0) return <p class="faint">The memory has nothing on it.</p>;
  const says = shown.filter((one) => one.says).length;
  return (
    <>
      <p class="faint">
        {says === 0 ? "Read from these items, of which none says it:" : `Read from ${shown.length === 1 ? "this item" : "these items"}:`}
      </p>
      <ul class="sources">
        {shown.map(({ item, says }) => (
          <li key={item.id} class={says ? "says" : ""}>
            <ToItem item={item.id} point={point} /> <Said item={item} />
            {says && <span class="tag"> says it</span>}
          </li>
        ))}
      </ul>
    </>
  );
}

/** The id of an item, which leads to it. */
function ToItem({ item, point }: { item: string; point: (item: string) => void }) {
  const go = () => {
    const found = document.getElementById(`item-${item}`);
    found?.scrollIntoView({ block: "nearest" });
    found?.focus({ preventScroll: true });
  };
  return (
    <button
      class="to-item"
      title="show it in the memory"
      onClick={go}
      onMouseEnter={() => point(item)}
      onMouseLeave={() => point("")}
      onFocus={() => point(item)}
      onBlur={() => point("")}
    >
      {item}
    </button>
  );
}

function Box({ state, actions }: { state: State; actions: Actions }) {
  const [text, write] = useState("");
  const [mode, choose] = useState<Mode>("auto");
  const [day, setDay] = useState(TODAY.format());
  const [taken, take] = useState<number[]>([]);
  const box = useRef<HTMLTextAreaElement>(null);
  const asked = mode === "auto" ? isQuestion(text) : mode === "ask";
  const send = (what: string, ask: boolean) => {
    if (what.trim() && !state.busy && state.facts) void actions.say(what.trim(), ask, day.trim());
  };
  const sendOwn = () => {
    if (state.busy || !state.facts) return;
    send(text, asked);
    write("");
    box.current?.focus();
  };
  const examples = state.facts?.examples ?? [];
  const left = examples.map((_, place) => place).filter((place) => !taken.includes(place));
  const offered = (left.length ? left : [...examples.keys()]).slice(0, OFFERED);
  return (
    <form
      class="box"
      onSubmit={(event) => {
        event.preventDefault();
        sendOwn();
      }}
    >
      {offered.length > 0 && (
        <div class="examples" role="group" aria-label="Examples">
          <span class="faint" aria-hidden="true">
            Examples
          </span>
          {offered.map((place, slot) => (
            <button
              type="button"
              key={slot}
              onClick={() => {
                if (state.busy) return;
                take(left.length ? [...taken, place] : [place]);
                send(examples[place]!, isQuestion(examples[place]!));
              }}
            >
              {examples[place]}
            </button>
          ))}
        </div>
      )}
      <div class="writing">
        <textarea
          ref={box}
          aria-label="Say or ask"
          placeholder="Say or ask; Enter sends"
          rows={2}
          value={text}
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            sendOwn();
          }}
        />
        <button class="send" disabled={state.busy || !state.facts || !text.trim()}>
          {asked ? "Ask" : "Read"}
        </button>
      </div>
      <div class="how">
        <fieldset>
          <legend class="hidden">What is done with it</legend>
          {MODES.map(([name, words]) => (
            <label key={name}>
              <input type="radio" name="mode" checked={mode === name} onChange={() => choose(name)} /> {words}
            </label>
          ))}
        </fieldset>
        <label class="day">
          said on <input value={day} size={13} onInput={(event) => setDay(event.currentTarget.value)} />
        </label>
      </div>
    </form>
  );
}
