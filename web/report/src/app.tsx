// The frame of all views.
import { useEffect, useRef, useState } from "preact/hooks";
import { Compare } from "./compare";
import { useRuns } from "./data";
import { Episode } from "./episode";
import { Group } from "./group";
import { Groups, goTo } from "./groups";
import { HELP, keysOn, switchKeys, useKeys } from "./keys";
import { Overview } from "./overview";
import { Fault, pathOf, places } from "./parts";
import type { RunRecord } from "./records";
import { go, link, useRoute, type Route } from "./route";
import { turn, useTheme } from "./theme";
import { Search } from "./search";
import { Wrong } from "./wrong";

export function App() {
  const route = useRoute();
  const { index, runs, fault } = useRuns();
  const [help, setHelp] = useState(false);
  const main = useRef<HTMLElement>(null);
  const theme = useTheme();
  const [key = "", part = "", step = ""] = route.path.split("/");
  const run = runs.get(key) ?? runs.get(index?.runs[0]?.run ?? "");
  const to = links(run, part, Number(step));
  const reading = !run && !fault;
  useKeys({
    o: () => go(link("")),
    w: goTo(to.wrong, reading),
    x: goTo(to.compare, reading),
    "/": goTo(to.search, reading),
    d: turn,
    "?": () => setHelp((now) => !now),
    Escape: help ? () => setHelp(false) : null,
  });
  const place = `${route.view}/${route.path}`;
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    window.scrollTo(0, 0);
    if (!(document.activeElement instanceof HTMLInputElement)) main.current?.querySelector("h1")?.focus({ preventScroll: true });
  }, [place]);
  useEffect(() => {
    document.title = ["memrl", index?.title, NAMES[route.view]].filter(Boolean).join(" · ");
  }, [route.view, index?.title]);
  const tabs: [string, string | undefined, boolean][] = [
    ["Overview", link(""), ["", "run"].includes(route.view)],
    ["Streams", to.groups, ["groups", "group", "episode"].includes(route.view)],
    ["Why wrong", to.wrong, route.view === "wrong"],
    ["Compare", to.compare, route.view === "compare"],
    ["Search", to.search, route.view === "search"],
  ];
  return (
    <>
      <header class="top">
        <a class="skip" href={location.hash || "#/"} onClick={(event) => (event.preventDefault(), main.current?.focus())}>
          to the content
        </a>
        <a class="brand" href={link("")}>
          memrl<span> report</span>
        </a>
        <nav aria-label="Views">
          {tabs.map(([words, where, here]) =>
            where ? (
              <a key={words} href={where} aria-current={here ? "page" : undefined}>
                {words}
              </a>
            ) : null,
          )}
        </nav>
        <div class="top-right">
          {index && index.live !== null && (
            <span class="live" title="The run goes on: this page reads it again.">
              <span aria-hidden="true">●</span> live<span class="live-step">, step {run?.step ?? 0}</span>
            </span>
          )}
          <button onClick={turn} aria-label={theme === "dark" ? "light theme" : "dark theme"} title="dark or light (d)">
            {theme === "dark" ? "☀" : "☾"}
          </button>
          <button onClick={() => setHelp(true)} aria-label="keys" title="keys (?)">
            ?
          </button>
        </div>
      </header>
      <main ref={main} tabIndex={-1}>
        <View route={route} />
      </main>
      {help && <Help close={() => setHelp(false)} />}
    </>
  );
}

const NAMES: Record<string, string> = { groups: "streams", group: "stream", episode: "episode", wrong: "why wrong", compare: "compare", search: "search" };

function View({ route }: { route: Route }) {
  switch (route.view) {
    case "":
    case "run":
      return <Overview run={route.path} />;
    case "groups":
      return <Groups route={route} />;
    case "group":
      return <Group route={route} />;
    case "episode":
      return <Episode route={route} />;
    case "wrong":
      return <Wrong key={route.path} route={route} />;
    case "compare":
      return <Compare route={route} />;
    case "search":
      return <Search key={route.path} route={route} />;
    default:
      return <Fault>This link names no view of the report.</Fault>;
  }
}

function links(run: RunRecord | undefined, part: string, step: number) {
  const all = places(run);
  const held = all.filter((one) => one.part === "held-out");
  const here = all.find((one) => one.part === part && one.step === step) ?? held.at(-1) ?? all.at(-1);
  const path = run && here ? pathOf(run.run, here) : undefined;
  return {
    groups: path && link("groups", path),
    wrong: path && here?.wrong ? link("wrong", path) : undefined,
    search: path && here?.search ? link("search", path) : undefined,
    compare: run && run.streams.length > 0 ? link("compare", run.run) : undefined,
  };
}

function Help({ close }: { close: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  const [on, set] = useState(keysOn());
  useEffect(() => {
    box.current?.showModal();
  }, []);
  return (
    <dialog ref={box} class="help" aria-label="Keys" onClose={close} onClick={(event) => event.target === box.current && close()}>
      <div class="help-in">
        <h2>Keys</h2>
        <dl>
          {HELP.map(([keys, words]) => (
            <div key={keys}>
              <dt>
                {keys.split(", ").map((one) => (
                  <kbd key={one}>{one}</kbd>
                ))}
              </dt>
              <dd>{words}</dd>
            </div>
          ))}
        </dl>
        <label>
          <input
            type="checkbox"
            checked={on}
            onChange={() => {
              switchKeys(!on);
              set(!on);
            }}
          />{" "}
          single keys act
        </label>
        <button onClick={close}>close</button>
      </div>
    </dialog>
  );
}

