// The memory: what is kept, what has just changed, what an answer was read from; each item with its history.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { T } from "../../report/src/text";
import type { Change, Item } from "./api";
import { ChangeText, kindOf, Said, Sign, type Kind } from "./change";
import { newest, type Actions, type State } from "./state";

// The stores of the design that is usual; those of other designs have their own names.
const STORES = new Map([
  ["core", ["Core", "one paragraph that is always shown"]],
  ["semantic", ["Facts", "semantic memory"]],
  ["episodic", ["Events", "episodic memory, dated"]],
]);

type Props = { state: State; actions: Actions; pointed: string };

export function MemoryPanel({ state, actions, pointed }: Props) {
  const { items, changes, facts } = state;
  const top = newest(changes);
  const head = useRef<HTMLHeadingElement>(null);
  const fresh = new Map<string, Change>();
  for (const one of changes) if (one.number > state.since) fresh.set(one.item_id, one);
  const gone = goneOf(items, changes);
  const afterwards = () => head.current?.focus();
  return (
    <section class="panel memory" aria-label="Memory">
      <div class="panel-head">
        <h2 ref={head} tabIndex={-1}>
          Memory
        </h2>
        {facts && <Room facts={facts} count={items.length} />}
        <button
          class="undo"
          aria-disabled={top.length === 0}
          title={top.length ? `takes back the last change, of ${named(top)}` : "nothing to take back"}
          onClick={() => void (top.length > 0 && actions.undo())}
        >
          Undo
        </button>
      </div>
      {items.length === 0 && <p class="nothing">Nothing is kept yet.</p>}
      {[...new Set([...STORES.keys(), ...items.map((one) => one.store)])].map((store) => {
        const held = items.filter((one) => one.store === store);
        const [title, words] = STORES.get(store) ?? [store, ""];
        return (
          held.length > 0 && (
            <div key={store} class="store">
              <h3>
                <T>{title!}</T> <span class="faint">{words}</span>
              </h3>
              <ul class="items">
                {held.map((item) => (
                  <ItemView
                    key={item.id}
                    item={item}
                    state={state}
                    actions={actions}
                    fresh={fresh.get(item.id)}
                    top={top}
                    pointed={pointed === item.id}
                    afterwards={afterwards}
                  />
                ))}
              </ul>
            </div>
          )
        );
      })}
      {gone.length > 0 && (
        <details class="gone">
          <summary>Taken out ({gone.length})</summary>
          <ul class="items">
            {gone.map((last) => (
              <Gone key={last.item_id} last={last} changes={changes} actions={actions} />
            ))}
          </ul>
        </details>
      )}
      {facts && (
        <p class="where faint">
          {facts.store === null ? (
            "Kept until memrl demo ends."
          ) : (
            <>
              Kept in <T>{facts.store}</T>.
            </>
          )}
        </p>
      )}
    </section>
  );
}

/** The last changes of items that are no longer there, newest first. */
function goneOf(items: Item[], changes: Change[]): Change[] {
  const held = new Set(items.map((one) => one.id));
  const last = new Map<string, Change>();
  for (const one of changes) {
    last.delete(one.item_id);
    if (!held.has(one.item_id) && one.before !== null) last.set(one.item_id, one);
  }
  return [...last.values()].reverse();
}

function named(changes: Change[]): string {
  const ids = [...new Set(changes.map((one) => one.item_id))];
  return ids.length > 3 ? `${ids.slice(0, 3).join(", ")} and ${ids.length - 3} more` : ids.join(", ");
}

function Room({ facts, count }: { facts: { tokens: number; budget: number }; count: number }) {
  const words = `${count} ${count === 1 ? "item" : "items"}, ${facts.tokens} of ${facts.budget} tokens`;
  return (
    <span class="room">
      <meter aria-label="tokens that the memory holds" min={0} max={facts.budget} value={facts.tokens} /> {words}
    </span>
  );
}

type ItemProps = {
  item: Item;
  state: State;
  actions: Actions;
  fresh: Change | undefined;
  top: Change[];
  pointed: boolean;
  afterwards: () => void;
};

function ItemView({ item, state, actions, fresh, top, pointed, afterwards }: ItemProps) {
  const [writing, write] = useState(false);
  const [open, setOpen] = useState(false);
  const kind: Kind | "" = fresh ? kindOf(fresh) : "";
  const used = state.used.get(item.id);
  const undone = top.some((one) => one.item_id === item.id);
  const together = new Set(top.map((one) => one.item_id)).size;
  const correction = useRef<HTMLButtonElement>(null);
  const close = () => {
    write(false);
    correction.current?.focus();
  };
  const classes = ["item", kind, used === undefined ? "" : used ? "used says" : "used", pointed ? "pointed" : ""];
  return (
    <li id={`item-${item.id}`} tabIndex={-1} class={classes.filter(Boolean).join(" ")} data-item={item.id}>
      <div key="head" class="item-head">
        <span class="id">{item.id}</span>
        {kind && <Sign kind={kind} />}
        {used !== undefined && <span class={used ? "tag" : "faint tag"}>{used ? "used: says the answer" : "shown for the answer"}</span>}
      </div>
      {writing ? (
        <Correction key="correction" item={item} actions={actions} close={close} />
      ) : (
        <div key="content" class="content">{fresh?.before && fresh.after ? <ChangeText change={fresh} /> : <Said item={item} />}</div>
      )}
      <div key="tools" class="tools">
        <button ref={correction} aria-label={`correct ${item.id}`} aria-expanded={writing} onClick={() => write(!writing)}>
          Correct
        </button>
        {item.id !== "core" && (
          <button
            aria-label={`forget ${item.id}`}
           
            onClick={async () => {
              await actions.forget(item);
              afterwards();
            }}
          >
            Forget
          </button>
        )}
        <button aria-label={`history of ${item.id}`} aria-expanded={open} onClick={() => setOpen(!open)}>
          History
        </button>
        {undone && (
          <button
            aria-label={`undo the last change of ${item.id}`}
            title={together > 1 ? `takes back all that the last text did: ${named(top)}` : "takes back its last change"}
           
            onClick={async () => {
              await actions.undo();
              document.getElementById(`item-${item.id}`)?.focus() ?? afterwards();
            }}
          >
            Undo{together > 1 && ` (with ${together - 1} more)`}
          </button>
        )}
      </div>
      {open && (
        <History
          changes={state.changes.filter((one) => one.item_id === item.id)}
          putBack={(before) => (before.content === item.content ? null : () => actions.correct(item, before.content, "put back"))}
        />
      )}
    </li>
  );
}

function Correction({ item, actions, close }: { item: Item; actions: Actions; close: () => void }) {
  const [text, write] = useState(item.content);
  const [wrong, tell] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    box.current?.focus();
    box.current?.select();
  }, []);
  const save = async () => {
    if (text.trim() === item.content || !text.trim()) return close();
    const why = await actions.correct(item, text.trim(), "");
    if (why) tell(why);
    else close();
  };
  return (
    <form
      class="correction"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") close();
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === box.current) {
          event.preventDefault();
          void save();
        }
      }}
    >
      <textarea ref={box} aria-label={`new text of ${item.id}`} rows={2} value={text} onInput={(event) => write(event.currentTarget.value)} />
      <div class="tools">
        <button class="send">Save</button>
        <button type="button" onClick={close}>
          Cancel
        </button>
      </div>
      {wrong && (
        <p class="fault" role="alert">
          <T>{wrong}</T>
        </p>
      )}
    </form>
  );
}

type GoneProps = { last: Change; changes: Change[]; actions: Actions };

function Gone({ last, changes, actions }: GoneProps) {
  const [wrong, tell] = useState("");
  return (
    <li class="item" data-gone={last.item_id}>
      <div class="item-head">
        <span class="id">{last.item_id}</span>
      </div>
      <div class="content">
        <ChangeText change={last} />
      </div>
      <div class="tools">
        {last.before && last.before.store !== "core" && (
          <button
            aria-label={`put ${last.item_id} back`}
           
            onClick={async () => tell(await actions.bringBack(last.before!))}
          >
            Put back
          </button>
        )}
      </div>
      {wrong && (
        <p class="fault" role="alert">
          <T>{wrong}</T>
        </p>
      )}
      <History changes={changes.filter((one) => one.item_id === last.item_id)} putBack={() => null} />
    </li>
  );
}

type HistoryProps = {
  changes: Change[];
  putBack: (before: Item) => (() => Promise<string>) | null;
};

function History({ changes, putBack }: HistoryProps) {
  const [wrong, tell] = useState("");
  return (
    <ol class="history" reversed>
      {changes.toReversed().map((change) => {
        const back = change.before && putBack(change.before);
        return (
          <li key={change.number}>
            <span class="faint">
              <Sign kind={kindOf(change)} /> {clock(change.at)}, {who(change)}
            </span>
            {change.why && change.by === "agent" && (
              <blockquote>
                <T>{change.why}</T>
              </blockquote>
            )}
            <ChangeText change={change} />
            {back && (
              <button onClick={async () => tell(await back())}>
                Put back <span class="hidden">{change.before!.content.slice(0, 80)}</span>
              </button>
            )}
          </li>
        );
      })}
      {wrong && (
        <li class="fault" role="alert">
          <T>{wrong}</T>
        </li>
      )}
    </ol>
  );
}

function who(change: Change): string {
  if (change.undoes !== null) return "undone";
  if (change.by === "agent") return "by the agent, reading";
  return change.why === "put back" ? "put back by hand" : "by hand";
}

function clock(at: number): string {
  const then = new Date(at * 1000);
  const today = then.toDateString() === new Date().toDateString();
  return then.toLocaleString("en-GB", { ...(today ? {} : { dateStyle: "medium" }), timeStyle: "medium" });
}
