import { pick } from '@/app/search';

/** What the address of the page holds: the breaker that is open, and which of its circuits. */
export const breakersSearch = (search: Record<string, unknown>) => pick(search, ['breaker', 'value']);
export type BreakersSearch = ReturnType<typeof breakersSearch>;
