import { pick } from '@/app/search';

/** What the address of the page holds: the budget that is open, `new` for one that is to be made, and its page of accounts. */
export const budgetsSearch = (search: Record<string, unknown>) => pick(search, ['budget', 'edit']);
export type BudgetsSearch = ReturnType<typeof budgetsSearch>;
