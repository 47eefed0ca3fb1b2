// A change of an item: what it was, and what it is now.
import { Diff, T } from "../../report/src/text";
import type { Change, Item } from "./api";

const SIGNS = { add: "+", alter: "~", delete: "−" };
const WORDS = { add: "added", alter: "changed", delete: "taken out" };

export type Kind = keyof typeof SIGNS;

export function kindOf(change: Change): Kind {
  return change.before === null ? "add" : change.after === null ? "delete" : "alter";
}

export function Sign({ kind }: { kind: Kind }) {
  return (
    <span class={`sign ${kind}`}>
      <span aria-hidden="true">{SIGNS[kind]}</span>
      <span class="hidden">{WORDS[kind]}</span>
    </span>
  );
}

export function Said({ item }: { item: Item }) {
  return (
    <span class="said">
      <T>{item.content}</T>
      {item.time && (
        <span class="when">
          {" ("}
          <T>{item.time}</T>)
        </span>
      )}
    </span>
  );
}

export function ChangeText({ change }: { change: Change }) {
  const { before, after } = change;
  if (before && after) return <Diff before={before.content} after={after.content} />;
  return after ? (
    <Said item={after} />
  ) : (
    <del>
      <T>{before?.content ?? ""}</T>
    </del>
  );
}
