import { pick } from '@/app/search';

/** What the address of the page holds: an agent, or one release and what it is compared with; how far back numbers go; the agent that a release is drafted of, and from what. */
export const releasesSearch = (search: Record<string, unknown>) => pick(search, ['agent', 'release', 'against', 'hours', 'draft', 'from']);
