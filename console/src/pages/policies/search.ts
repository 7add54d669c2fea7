import { pick } from '@/app/search';

/** What the address of the page holds: which rules are looked for. */
export const policiesSearch = (search: Record<string, unknown>) => pick(search, ['find']);
