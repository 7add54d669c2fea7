/** A place of this console: its path and what its address holds. */
export interface Place {
  readonly to: string;
  readonly search: Readonly<Record<string, string>>;
}

const ORIGIN = 'http://console.invalid';

/** Where a path that the server names leads; null of the overview itself, and of what leads to another site. */
export function placeOf(link: string): Place | null {
  if (!/^\/(?![/\\])/.test(link) || !URL.canParse(link, ORIGIN)) return null;
  const url = new URL(link, ORIGIN);
  return url.origin === ORIGIN && url.pathname !== '/' ? { to: url.pathname, search: Object.fromEntries(url.searchParams) } : null;
}
