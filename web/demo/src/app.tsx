// The frame: the chat, and beside it the memory.
import { useEffect, useState } from "preact/hooks";
import { T } from "../../report/src/text";
import { turn, useTheme } from "../../report/src/theme";
import { Chat } from "./chat";
import { MemoryPanel } from "./memory";
import { useDemo } from "./state";

export function App() {
  const [state, actions] = useDemo();
  const [pointed, point] = useState("");
  const theme = useTheme();
  const { facts } = state;
  useEffect(() => {
    document.title = ["memrl demo", facts?.policy].filter(Boolean).join(" · ");
  }, [facts?.policy]);
  return (
    <>
      <header class="top">
        <h1>
          memrl<span> demo</span>
        </h1>
        {facts && (
          <span class="policy">
            <T>{facts.policy}</T>
          </span>
        )}
        <a class="rest" href="docs" target="_blank" rel="noreferrer">
          REST
        </a>
        <button onClick={turn} aria-label={theme === "dark" ? "light theme" : "dark theme"} title="dark or light">
          {theme === "dark" ? "☀" : "☾"}
        </button>
      </header>
      <main>
        {state.fault && (
          <p class="fault" role="alert">
            <T>{state.fault}</T>
          </p>
        )}
        <Chat state={state} actions={actions} point={point} />
        <MemoryPanel state={state} actions={actions} pointed={pointed} />
      </main>
    </>
  );
}
