/** Any JSON value as text: strings as they are, the rest indented. */
export function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined ? '' : JSON.stringify(value, null, 2);
}

/** A field of an object that an agent gave back. */
export interface Field {
  readonly name: string;
  readonly text: string;
}

/** The fields of a JSON object as people read them; null of what is none, or has none. */
export function fieldsOf(value: unknown): readonly Field[] | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const fields = Object.entries(value).map(([name, one]): Field => ({ name: name.replaceAll('_', ' '), text: read(one) }));
  return fields.length > 0 ? fields : null;
}

function read(value: unknown): string {
  if (value === null || value === '' || (Array.isArray(value) && value.length === 0)) return 'none';
  if (Array.isArray(value) && value.every((one) => typeof one === 'string' || typeof one === 'number')) return value.join(', ');
  return asText(value);
}

const LINE_MAX = 105;

/** Fields in one line, cut at its end; those that say nothing come last, as there may be no room for them. */
export function oneLine(fields: readonly Field[]): string {
  const order = [...fields.filter((field) => field.text !== 'none'), ...fields.filter((field) => field.text === 'none')];
  const line = order.map((field) => `${field.name}: ${field.text}`).join(' · ').replaceAll(/\s+/g, ' ');
  return line.length <= LINE_MAX ? line : `${line.slice(0, LINE_MAX)}…`;
}

/** A message to or from a model as the server shows it, cut for itself. */
export interface MessageShown {
  readonly ref?: string;
  readonly size?: number;
  readonly cut?: boolean;
  readonly hidden?: string;
  readonly role?: string;
  readonly parts?: readonly { readonly part?: string; readonly name?: string; readonly text?: string; readonly status?: string }[];
}

/** The value as a list of messages, or null when it is none. */
export function asMessages(value: unknown): readonly MessageShown[] | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const one = (item: unknown): boolean => typeof item === 'object' && item !== null && ('ref' in item) && (('role' in item && 'parts' in item && Array.isArray(item.parts)) || 'hidden' in item || 'cut' in item);
  return value.every(one) ? (value as MessageShown[]) : null;
}

const HIDDEN: Readonly<Record<string, string>> = {
  forbidden: 'Content is shown with the right payloads:read.',
  erased: 'Erased, with the key of the person it was about.',
  archived: 'Archived: not in the journal any more.',
  missing: 'Missing: the journal names it, but it is not stored.',
  damaged: 'Damaged: what is stored cannot be read.',
};

/** Why a piece of content is not shown, in words. */
export const hiddenWords = (why: string): string => HIDDEN[why] ?? `Not shown: ${why}.`;
