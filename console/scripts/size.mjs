// Sizes of the first load against their bounds (docs/decisions say why): what index.html asks for before any page
// is chosen, and everything that those files import statically. Lazy pages and charts are listed, not bounded.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const KB = 1000;
const BOUNDS = { js: 350 * KB, css: 40 * KB };
const folder = new URL('../../src/penstock/server/console/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', folder), 'utf8'));

const sizes = new Map();
function gzipped(file) {
  if (!sizes.has(file)) sizes.set(file, gzipSync(readFileSync(new URL(file, folder)), { level: 9 }).length);
  return sizes.get(file);
}

function closure(entry, seen = new Set()) {
  const chunk = manifest[entry];
  if (seen.has(entry) || !chunk) return seen;
  seen.add(entry);
  for (const next of chunk.imports ?? []) closure(next, seen);
  return seen;
}

const first = closure('index.html');
const files = { js: new Set(), css: new Set() };
for (const entry of first) {
  files.js.add(manifest[entry].file);
  for (const css of manifest[entry].css ?? []) files.css.add(css);
}

let failed = false;
for (const [kind, bound] of Object.entries(BOUNDS)) {
  const total = [...files[kind]].reduce((sum, file) => sum + gzipped(file), 0);
  const verdict = total > bound ? 'TOO LARGE' : 'ok';
  failed ||= total > bound;
  console.log(`first load ${kind}: ${(total / KB).toFixed(1)} kB gz of ${bound / KB} kB, ${verdict}`);
}
const lazy = Object.entries(manifest).filter(([entry, chunk]) => !first.has(entry) && chunk.file.endsWith('.js'));
for (const [entry, chunk] of lazy.sort((a, b) => gzipped(b[1].file) - gzipped(a[1].file))) {
  console.log(`  lazy ${(gzipped(chunk.file) / KB).toFixed(1).padStart(6)} kB  ${chunk.name ?? entry}`);
}
if (failed) {
  console.error(`error: the first load of ${fileURLToPath(folder)} is over its bound`);
  console.error('hint: make the page or the library lazy (import() in the router)');
  process.exit(1);
}
