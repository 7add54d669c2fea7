import { pick } from '@/app/search';

/** What the address of the run page holds: the chosen span, the place on the tape, the axis, the filter. */
export const runSearch = (search: Record<string, unknown>) => pick(search, ['span', 'at', 'axis', 'filter']);

/** What the address of a comparison holds. */
export const compareSearch = (search: Record<string, unknown>) => pick(search, ['row']);
