/** Characters of an argument that differs beyond which a question is read by itself: in a table nobody reads it. */
export const LONG = 600;

/**
 * The members of a canonical JSON object as they are written, by name in their order; null when it is no object. Nothing
 * is parsed into values and printed again, so that no digit of a number gets lost.
 */
export function membersOf(args: string): ReadonlyMap<string, string> | null {
  if (!args.startsWith('{') || !args.endsWith('}')) return null;
  const found = new Map<string, string>();
  let at = 1;
  while (at < args.length - 1) {
    const key = stringEnd(args, at);
    if (args.charAt(at) !== '"' || args.charAt(key) !== ':') return null;
    const end = valueEnd(args, key + 1);
    found.set(nameOf(args.slice(at, key)), args.slice(key + 1, end));
    at = end + 1;
  }
  return found;
}

const nameOf = (text: string): string => {
  const name: unknown = JSON.parse(text);
  return String(name);
};

/** The index after the string that begins at `start`. */
function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i += 1) {
    if (text.charAt(i) === '\\') i += 1;
    else if (text.charAt(i) === '"') return i + 1;
  }
  return text.length;
}

/** The index of the comma or the brace after the value that begins at `start`. */
function valueEnd(text: string, start: number): number {
  let depth = 0;
  for (let i = start; i < text.length; i += 1) {
    const c = text.charAt(i);
    if (c === '"') i = stringEnd(text, i) - 1;
    else if (c === '{' || c === '[') depth += 1;
    else if (depth === 0 && (c === ',' || c === '}')) return i;
    else if (c === '}' || c === ']') depth -= 1;
  }
  return text.length;
}

/** What several calls have in common, and what differs. */
export interface Columns {
  /** Arguments that all have, with the same value: name and value as they are written. */
  readonly same: readonly (readonly [string, string])[];
  /** Names of the others. */
  readonly differing: readonly string[];
}

/** Splits the arguments of calls into what all have alike and what differs; a call that lacks one differs in it. */
export function columnsOf(calls: readonly ReadonlyMap<string, string>[]): Columns {
  const names = [...new Set(calls.flatMap((call) => [...call.keys()]))].sort();
  const same: [string, string][] = [];
  const differing: string[] = [];
  for (const name of names) {
    const [value] = calls.map((call) => call.get(name));
    if (value !== undefined && calls.every((call) => call.get(name) === value)) same.push([name, value]);
    else differing.push(name);
  }
  return { same, differing };
}

const CENTS = /(^|_)cents$/i;
const WHOLE = /^-?\d{1,15}$/;

/** What amounts named as cents come to over these calls: "cents: 147.00 in all"; an aid, never in place of the rows. */
export function sumsOf(calls: readonly ReadonlyMap<string, string>[], names: readonly string[]): readonly string[] {
  return names.filter((name) => CENTS.test(name)).flatMap((name) => {
    const values = calls.map((call) => call.get(name) ?? '');
    if (values.length === 0 || !values.every((value) => WHOLE.test(value))) return [];
    const sum = values.reduce((total, value) => total + BigInt(value), 0n);
    const size = sum < 0n ? -sum : sum;
    return [`${name}: ${sum < 0n ? '−' : ''}${(size / 100n).toLocaleString('en-US')}.${String(size % 100n).padStart(2, '0')} in all`];
  });
}
