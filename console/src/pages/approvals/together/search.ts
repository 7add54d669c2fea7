import { pick } from '@/app/search';

/** What the address of the page holds: the group of questions. */
export const togetherSearch = (search: Record<string, unknown>) => pick(search, ['group']);
