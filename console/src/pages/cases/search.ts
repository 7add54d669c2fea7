import { pick } from '@/app/search';

/** What the address of the page holds: which cases, and a word that they must have. */
export const casesSearch = (search: Record<string, unknown>) => pick(search, ['show', 'q']);
