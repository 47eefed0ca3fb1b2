// What the page knows: the memory, its changes, and the conversation. One action at a time; each ends with a look at
// the memory as the server has it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { getFacts, Memory, Refused, type Change, type Facts, type Item, type Result } from "./api";

export type Shown = { item: Item; says: boolean };

export type Entry =
  | { kind: "said"; asked: boolean; text: string }
  | { kind: "kept"; changes: Change[]; failed: Result[]; done: boolean; piece: number; pieces: number }
  | { kind: "answer"; text: string; shown: Shown[] }
  | { kind: "done"; words: string; changes: Change[] }
  | { kind: "fault"; text: string };

export type State = {
  facts: Facts | null;
  items: Item[];
  changes: Change[];
  entries: Entry[];
  busy: boolean;
  /** Changes after this one are new: they are marked until the next message. */
  since: number;
  /** The items that the last answer was read from, and whether each says it. */
  used: Map<string, boolean>;
  fault: string;
};

const EMPTY: State = {
  facts: null,
  items: [],
  changes: [],
  entries: [],
  busy: false,
  since: 0,
  used: new Map(),
  fault: "",
};

export type Actions = {
  say: (text: string, asked: boolean, time: string) => Promise<void>;
  correct: (item: Item, text: string, why: string) => Promise<string>;
  forget: (item: Item) => Promise<void>;
  bringBack: (item: Item) => Promise<string>;
  undo: () => Promise<void>;
};

export function useDemo(): [State, Actions] {
  const [state, set] = useState(EMPTY);
  const now = useRef(EMPTY);
  const memory = useRef(new Memory(""));
  const actions = useMemo(() => {
    const put = (part: Partial<State>) => {
      now.current = { ...now.current, ...part };
      set(now.current);
    };
    const last = () => now.current.changes.at(-1)?.number ?? 0;
    const look = async () => {
      const [facts, items, changes] = await Promise.all([getFacts(), memory.current.items(), memory.current.changes(last())]);
      put({ facts, items, changes: [...now.current.changes, ...changes] });
    };
    const add = (entry: Entry) => put({ entries: [...now.current.entries, entry] });
    const newer = () => now.current.changes.filter((one) => one.number > now.current.since);
    /** Do one thing, and look at the memory whatever becomes of it; what is wrong, in words. */
    const alone = async (work: () => Promise<void>): Promise<string> => {
      if (now.current.busy) return "Wait until the last one is done.";
      put({ busy: true, since: last(), used: new Map() });
      let wrong = "";
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        wrong = error.message;
      } finally {
        await look().catch(() => undefined);
        put({ busy: false });
      }
      return wrong;
    };
    const noted = async (words: string, work: () => Promise<unknown>): Promise<string> => {
      const wrong = await alone(async () => {
        await work();
        await look();
        add({ kind: "done", words, changes: newer() });
      });
      return wrong;
    };
    const inLog = async (wrong: Promise<string>) => {
      const text = await wrong;
      if (text) add({ kind: "fault", text });
    };
    const read = async (text: string, time: string) => {
      const place = now.current.entries.length;
      let kept: Entry & { kind: "kept" } = { kind: "kept", changes: [], failed: [], done: false, piece: 0, pieces: 1 };
      const show = (part: Partial<typeof kept>) => {
        kept = { ...kept, ...part };
        put({ entries: now.current.entries.toSpliced(place, 1, kept) });
      };
      show({});
      try {
        await memory.current.read(text, time, async ({ piece, pieces, results }) => {
          await look();
          const failed = results.filter((one) => one.code !== "ok");
          show({ piece, pieces, changes: newer(), failed: [...kept.failed, ...failed] });
        });
      } finally {
        show({ done: true });
      }
    };
    const ask = async (question: string) => {
      const answer = await memory.current.ask(question);
      await look();
      const shown = answer.retrieved.flatMap((id) => {
        const item = now.current.items.find((one) => one.id === id);
        return item ? [{ item, says: says(item, answer.text) }] : [];
      });
      shown.sort((one, other) => Number(other.says) - Number(one.says));
      put({ used: new Map(shown.map(({ item, says }) => [item.id, says])) });
      add({ kind: "answer", text: answer.text, shown });
    };
    const begin = async () => {
      const facts = await getFacts();
      memory.current = new Memory(facts.user);
      await look();
      put({ since: last() });
    };
    const acts: Actions = {
      say: async (text, asked, time) => {
        if (now.current.busy) return;
        add({ kind: "said", asked, text });
        await inLog(alone(() => (asked ? ask(text) : read(text, time))));
      },
      correct: (item, text, why) => noted(why === "" ? "corrected by hand" : why, () => memory.current.correct(item.id, text, why)),
      forget: (item) => inLog(noted("forgotten by hand", () => memory.current.forget(item.id))),
      bringBack: (item) => noted("put back", () => memory.current.keep(item)),
      undo: () => inLog(noted("undone", () => memory.current.undo())),
    };
    return { begin, put, acts };
  }, []);
  useEffect(() => {
    actions.begin().catch((error) => actions.put({ fault: String(error.message ?? error) }));
  }, []);
  return [state, actions.acts];
}

/** The changes that an undo would take back: those of the newest version that is neither undone nor an undoing. */
export function newest(changes: Change[]): Change[] {
  const undone = new Set(changes.map((one) => one.undoes));
  const top = changes.findLast((one) => one.undoes === null && !undone.has(one.version));
  return top ? changes.filter((one) => one.version === top.version) : [];
}

/** Whether a question mark ends a text. */
export function isQuestion(text: string): boolean {
  return /[?？؟]["'”’)\]]*$/.test(text.trim());
}

/** Whether an item has the words of an answer. */
function says(item: Item, answer: string): boolean {
  const words = (text: string) => ` ${text.toLowerCase().match(/[\p{L}\p{N}]+/gu)?.join(" ") ?? ""} `;
  return words(answer).trim() !== "" && words(`${item.content} ${item.time ?? ""}`).includes(words(answer));
}
