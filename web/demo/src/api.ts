// The REST API of the server that serves this page (docs/serve.md has all of it).

export type Item = {
  id: string;
  store: string;
  content: string;
  time: string | null;
};

export type Change = {
  number: number;
  version: number;
  at: number;
  by: string;
  why: string;
  item_id: string;
  before: Item | null;
  after: Item | null;
  undoes: number | null;
};

export type Result = {
  name: string;
  code: string;
  message: string;
  item_id: string | null;
  content: string | null;
};

export type Answer = { text: string; retrieved: string[] };

export type Facts = {
  policy: string;
  embedded: boolean;
  user: string;
  store: string | null;
  budget: number;
  tokens: number;
  examples: string[];
};

export type Piece = { piece: number; pieces: number; results: Result[] };

const PAGE = 1000;

export class Refused extends Error {}

async function asked(method: string, path: string, body?: unknown): Promise<Response> {
  let reply: Response;
  try {
    reply = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new Refused("The server does not answer. Has memrl demo ended?");
  }
  if (reply.ok) return reply;
  const told = await reply.json().catch(() => null);
  throw new Refused(typeof told?.error === "string" ? told.error : `The server answered ${reply.status}.`);
}

async function json<Value>(method: string, path: string, body?: unknown): Promise<Value> {
  return (await asked(method, path, body)).json();
}

export function getFacts(): Promise<Facts> {
  return json("GET", "demo");
}

export class Memory {
  private readonly base: string;

  constructor(user: string) {
    this.base = `v1/users/${encodeURIComponent(user)}`;
  }

  async items(): Promise<Item[]> {
    const found: Item[] = [];
    let after = "";
    for (;;) {
      const page = await json<{ items: Item[]; next: string | null }>(
        "GET",
        `${this.base}/memories?limit=${PAGE}${after && `&after=${encodeURIComponent(after)}`}`,
      );
      found.push(...page.items);
      if (page.next === null) return found;
      after = page.next;
    }
  }

  /** The changes that come after one, by its number. */
  async changes(after: number): Promise<Change[]> {
    const found: Change[] = [];
    for (;;) {
      const page = await json<{ changes: Change[]; next: number | null }>(
        "GET",
        `${this.base}/history?limit=${PAGE}&after=${after}`,
      );
      found.push(...page.changes);
      if (page.next === null) return found;
      after = page.next;
    }
  }

  /** Have a text read; told of each piece of it. */
  async read(text: string, time: string, told: (piece: Piece) => Promise<void>): Promise<void> {
    const reply = await asked("POST", `${this.base}/read/events`, { text, time: time || null });
    const reader = reply.body!.pipeThrough(new TextDecoderStream()).getReader();
    let left = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Refused("The server stopped before the text was read.");
      const blocks = (left + value).split("\n\n");
      left = blocks.pop()!;
      for (const block of blocks) {
        const [name, data] = block.split("\ndata: ");
        const event = JSON.parse(data!);
        if (name === "event: piece") await told(event);
        else if (name === "event: error") throw new Refused(event.error);
        else if (name === "event: done") return;
      }
    }
  }

  ask(question: string): Promise<Answer> {
    return json("POST", `${this.base}/ask`, { question });
  }

  correct(item: string, text: string, why: string): Promise<Result> {
    return json("PATCH", `${this.base}/memories/${encodeURIComponent(item)}`, { text, why });
  }

  forget(item: string): Promise<unknown> {
    return json("DELETE", `${this.base}/memories/${encodeURIComponent(item)}`);
  }

  /** Store a text as it is, as the memory's design does. */
  async keep(item: Item): Promise<void> {
    const given = { messages: item.content, time: item.time, infer: false };
    const { results } = await json<{ results: Result[] }>("POST", `${this.base}/memories`, given);
    const failed = results.find((one) => one.code !== "ok");
    if (failed) throw new Refused(`${failed.code}: ${failed.message}`);
  }

  async undo(): Promise<Change[]> {
    return (await json<{ changes: Change[] }>("POST", `${this.base}/undo`, {})).changes;
  }
}
