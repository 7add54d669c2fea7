import { pick } from '@/app/search';

/** `run`: the run whose proof is checked; `actor` and `action` narrow the list of what was done. */
export const auditSearch = (search: Readonly<Record<string, unknown>>) => pick(search, ['run', 'actor', 'action']);
