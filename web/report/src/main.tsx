import "uplot/dist/uPlot.min.css";
import "./style.css";
import { render } from "preact";
import { App } from "./app";
import { start } from "./data";

render(<App />, document.getElementById("page")!);
start();
