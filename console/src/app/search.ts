/** The query part of an address as plain text values: `?outcome=failed&since=1h`, readable and made by hand. */
export type Search = Record<string, string>;

/** Parses a query string. Of a repeated name the last counts. */
export function parseSearch(text: string): Search {
  return Object.fromEntries(new URLSearchParams(text));
}

/** The query string of a search, "" when empty. Undefined, null and empty values are left out. */
export function stringifySearch(search: Readonly<Record<string, unknown>>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(search)) {
    if (value === undefined || value === null || value === '') continue;
    params.set(name, String(value));
  }
  // Colons, commas and slashes are allowed in a query, and filters read better with them.
  const text = params.toString().replace(/%3A/g, ':').replace(/%2C/g, ',').replace(/%2F/g, '/');
  return text ? `?${text}` : '';
}

/** The named values of a search that are non-empty text, for `validateSearch`. */
export function pick<K extends string>(search: Readonly<Record<string, unknown>>, names: readonly K[]): Partial<Record<K, string>> {
  const out: Partial<Record<K, string>> = {};
  for (const name of names) {
    const value = search[name];
    if (typeof value === 'string' && value !== '') out[name] = value;
    else if (typeof value === 'number') out[name] = String(value);
  }
  return out;
}
