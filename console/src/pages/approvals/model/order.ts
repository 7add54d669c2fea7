import type { ApprovalLine } from '@/api/schema';

/** The question `by` places after `id` in the list (before it for a negative number); the nearest when there is none. */
export function beside(items: readonly ApprovalLine[], id: string | undefined, by: number): ApprovalLine | undefined {
  const at = items.findIndex((item) => item.id === id);
  if (at === -1) return items[0];
  return items[Math.max(0, Math.min(items.length - 1, at + by))];
}

/** What to look at after `id` was decided: the next that the caller may decide, else the next at all. */
export function following(items: readonly ApprovalLine[], id: string): ApprovalLine | undefined {
  const at = items.findIndex((item) => item.id === id);
  const rest = [...items.slice(at + 1), ...items.slice(0, Math.max(0, at))].filter((item) => item.id !== id);
  return rest.find((item) => item.mine) ?? rest[0];
}
