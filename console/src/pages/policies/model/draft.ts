import type { PolicyText } from '@/api/schema';

/** One file of a text that is being written. */
export interface Draft {
  readonly name: string;
  readonly text: string;
}

/** What is there before anything was loaded. */
export const FIRST: Draft = { name: 'policy.yaml', text: '' };

const FILES_MAX = 50;
/** As the server bounds the texts together. */
const BYTES_MAX = 1024 * 1024;
/** Runs, the newest first, whose calls a text is tried on. */
const RUNS = 200;

/** Files with others beside them: one of the same name takes the place of the old, and the empty first one goes. */
export function added(files: readonly Draft[], given: readonly Draft[]): readonly Draft[] {
  const names = new Set(given.map((file) => file.name));
  const kept = files.filter((file) => !names.has(file.name) && file.text !== '');
  const last = new Map(given.map((file) => [file.name, file]));
  const all = [...kept, ...last.values()];
  return all.length > 0 ? all : [FIRST];
}

/** Why a text cannot be looked at; "" when it can. */
export function wrongWith(files: readonly Draft[]): string {
  if (files.every((file) => file.text.trim() === '')) return 'There is no text yet.';
  if (files.some((file) => file.name.trim() === '')) return 'A file has no name.';
  const twice = files.find((file, i) => files.findIndex((one) => one.name === file.name) !== i);
  if (twice) return `Two files are named ${twice.name}.`;
  if (files.length > FILES_MAX) return `There are ${files.length} files; the bound is ${FILES_MAX}.`;
  const size = files.reduce((sum, file) => sum + new TextEncoder().encode(file.text).length, 0);
  return size > BYTES_MAX ? `The texts are larger than ${BYTES_MAX / 1024} KiB: use penstock policy check.` : '';
}

/** What is sent. `days` of calls: 0 = none. */
export function bodyOf(files: readonly Draft[], days: number): PolicyText {
  return { files: Object.fromEntries(files.map((file) => [file.name, file.text])), prove: true, replay_days: days, replay_runs: RUNS };
}
