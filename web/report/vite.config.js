import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vite";

// What the page is built from; memrl-page.json has its hash, and a test compares (tests/unit/test_page.py).
const ALONE = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js"];

function sources() {
  const inside = readdirSync("src", { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`);
  const sum = createHash("sha256");
  for (const path of [...ALONE, ...inside].sort()) {
    sum.update(`${path}\0${createHash("sha256").update(readFileSync(path)).digest("hex")}\n`);
  }
  return sum.digest("hex");
}

/** The terms of what is bundled, which go with it. */
function licences() {
  const of = (name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}\n`;
  return ["preact", "uplot"].map(of).join("\n\n");
}

export default defineConfig({
  base: "./",
  build: {
    outDir: "../../memrl/report/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: { format: "iife", entryFileNames: "page.js", assetFileNames: "page[extname]" },
    },
  },
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "inline" },
  plugins: [
    {
      // A page that is opened from the disk may load scripts, and no modules.
      name: "plain-scripts",
      enforce: "post",
      transformIndexHtml: (html) => html.replace('type="module" crossorigin', "defer").replace(" crossorigin", ""),
      generateBundle() {
        this.emitFile({ type: "asset", fileName: "memrl-page.json", source: `{"sources": "${sources()}"}\n` });
        this.emitFile({ type: "asset", fileName: "licences.txt", source: licences() });
      },
    },
  ],
});
