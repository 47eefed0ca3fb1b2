import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vite";

// What the page is built from; memrl-page.json has its hash, and a test compares (tests/unit/test_page.py).
const ALONE = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js"];
// What it shares with the report's page.
const SHARED = ["../report/src/text.tsx", "../report/src/theme.ts"];

function sources() {
  const inside = readdirSync("src", { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`);
  const sum = createHash("sha256");
  for (const path of [...ALONE, ...SHARED, ...inside].sort()) {
    sum.update(`${path}\0${createHash("sha256").update(readFileSync(path)).digest("hex")}\n`);
  }
  return sum.digest("hex");
}

export default defineConfig({
  base: "./",
  resolve: { dedupe: ["preact"] },
  build: {
    outDir: "../../memrl/serve/page",
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
      name: "plain-scripts",
      enforce: "post",
      transformIndexHtml: (html) => html.replace('type="module" crossorigin', "defer").replace(" crossorigin", ""),
      generateBundle() {
        const licence = `preact\n\n${readFileSync("node_modules/preact/LICENSE", "utf8").trim()}\n`;
        this.emitFile({ type: "asset", fileName: "memrl-page.json", source: `{"sources": "${sources()}"}\n` });
        this.emitFile({ type: "asset", fileName: "licences.txt", source: licence });
      },
    },
  ],
});
