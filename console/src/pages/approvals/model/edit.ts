import type { Args } from './decide';

/** How an argument is written: as text, as a number, by a tick, by choosing, or as JSON. */
export type FieldKind = 'text' | 'number' | 'boolean' | 'choice' | 'json';

/** One argument of the call, as the form has it. */
export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  readonly required: boolean;
  readonly whole: boolean;
  readonly choices: readonly string[];
  readonly about: string;
  /** As the form has it before anything is changed; null: it is not given. */
  readonly was: string | null;
}

type Json = Readonly<Record<string, unknown>>;
const objectOf = (value: unknown): Json => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {});

/** JSON with its names in order and nothing between: how the server writes arguments. */
export function canonicalOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalOf).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalOf((value as Json)[name])}`).join(',')}}`;
}

/** The arguments, or null when this browser could not send back unchanged what is left as it is: a number too long for it. */
export function editable(args: string): Args | null {
  try {
    const read: unknown = JSON.parse(args);
    return canonicalOf(read) === args && typeof read === 'object' && read !== null && !Array.isArray(read) ? (read as Args) : null;
  } catch {
    return null;
  }
}

/** The form of a call: what the tool's schema names, and what is given besides. */
export function fieldsOf(args: Args, schema: unknown): Field[] {
  const properties = objectOf(objectOf(schema)['properties']);
  const required = objectOf(schema)['required'];
  const names = [...new Set([...Object.keys(properties), ...Object.keys(args)])];
  return names.map((name) => {
    const about = objectOf(properties[name]);
    const value = args[name];
    const options: unknown[] = Array.isArray(about['enum']) ? about['enum'] : [];
    const kind = kindOf(about, value, options);
    return {
      name, kind, required: Array.isArray(required) && required.includes(name), whole: about['type'] === 'integer', choices: kind === 'choice' ? (options as string[]) : [],
      about: typeof about['description'] === 'string' ? about['description'] : '', was: name in args ? written(kind, value) : null,
    };
  });
}

function kindOf(about: Json, value: unknown, options: readonly unknown[]): FieldKind {
  const given = value === undefined ? '' : typeof value;
  if (options.length > 0 && options.every((one) => typeof one === 'string') && (given === '' || given === 'string')) return 'choice';
  const type = about['type'] ?? given;
  // What is given decides where the schema allows several: nothing may be shown as what it is not.
  if (type === 'string' && (given === '' || given === 'string')) return 'text';
  if ((type === 'number' || type === 'integer') && (given === '' || given === 'number')) return 'number';
  if (type === 'boolean' && given === 'boolean') return 'boolean';
  return 'json';
}

const written = (kind: FieldKind, value: unknown): string => (kind === 'text' || kind === 'choice' ? String(value) : canonicalOf(value));

/** What the form says: the arguments, or what is wrong of which. */
export function readFields(fields: readonly Field[], values: Readonly<Record<string, string | null>>): { readonly args: Args } | { readonly wrong: Readonly<Record<string, string>> } {
  const args: Record<string, unknown> = {};
  const wrong: Record<string, string> = {};
  for (const field of fields) {
    const text = values[field.name] ?? null;
    if (text === null || (text === '' && field.was === null && field.kind !== 'boolean')) {
      if (field.required) wrong[field.name] = 'it is needed';
      continue;
    }
    const read = readOne(field, text);
    if ('wrong' in read) wrong[field.name] = read.wrong;
    else args[field.name] = read.value;
  }
  return Object.keys(wrong).length > 0 ? { wrong } : { args };
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

function readOne(field: Field, text: string): { readonly value: unknown } | { readonly wrong: string } {
  switch (field.kind) {
    case 'text':
    case 'choice':
      return { value: text };
    case 'boolean':
      return { value: text === 'true' };
    case 'number': {
      const value = Number(text);
      if (!NUMBER.test(text.trim()) || !Number.isFinite(value)) return { wrong: 'no number' };
      if (field.whole && !Number.isSafeInteger(value)) return { wrong: 'no whole number' };
      return { value };
    }
    case 'json':
      try {
        return { value: JSON.parse(text) as unknown };
      } catch {
        return { wrong: 'no JSON' };
      }
  }
}
