import type { Held } from './check';

const nameOf = (tenant: string): string => `penstock.audit.${tenant}`;

/** What this browser holds of the log of a tenant; null: nothing, or it may not keep anything. */
export function readHeld(tenant: string): Held | null {
  try {
    const read: unknown = JSON.parse(localStorage.getItem(nameOf(tenant)) ?? 'null');
    if (typeof read !== 'object' || read === null) return null;
    const { key, note, at } = read as Partial<Held>;
    return typeof key === 'string' && typeof note === 'string' && typeof at === 'number' ? { key, note, at } : null;
  } catch {
    return null;
  }
}

/** Keeps it, or with null forgets it. Whether the browser did. */
export function keepHeld(tenant: string, held: Held | null): boolean {
  try {
    if (held === null) localStorage.removeItem(nameOf(tenant));
    else localStorage.setItem(nameOf(tenant), JSON.stringify(held));
    return true;
  } catch {
    return false;
  }
}
