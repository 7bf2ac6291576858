import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const COMPRESSED = /\.(html|js|css|svg|json)$/;
const WORTH_IT_BYTES = 1024; // below that the header of the answer is most of it

/** Writes FILE.br and FILE.gz beside each text file: the server compresses nothing by itself. */
function precompress(): Plugin {
  return {
    name: "precompress",
    apply: "build",
    enforce: "post",
    async writeBundle(options, bundle) {
      const names = Object.keys(bundle).filter((name) => COMPRESSED.test(name));
      await Promise.all(
        names.map(async (name) => {
          const path = join(options.dir ?? ".", name);
          const bytes = await readFile(path);
          if (bytes.length < WORTH_IT_BYTES) return;
          const params = { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
          await writeFile(`${path}.br`, await promisify(brotliCompress)(bytes, { params }));
          await writeFile(`${path}.gz`, await promisify(gzip)(bytes, { level: 9 }));
        }),
      );
    },
  };
}

export default defineConfig({
  plugins: [react(), precompress()],
  build: {
    outDir: "../server/meeting/static",
    emptyOutDir: true,
    target: ["chrome120", "firefox121", "safari17"],
    assetsInlineLimit: 0, // what lies in a file of its own needs no data: in the content security policy
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true } } },
});
