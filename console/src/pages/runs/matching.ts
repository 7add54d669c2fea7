import type { RunLine } from '@/api/schema';

import type { RunsSearch } from './search';
import { toQuery } from './filter';

/**
 * Whether a run is one that a filter finds: for runs that come over the stream, so that only those are counted as new.
 * What the line does not tell (`q`) counts as found: the server decides when the list is read again.
 */
export function matchesFilter(run: RunLine, search: RunsSearch, now: number): boolean {
  const query = toQuery(search, now);
  return Object.entries(query).every(([name, value]) => {
    switch (name) {
      case 'since':
        return run.created_at >= Number(value);
      case 'until':
        return run.created_at <= Number(value);
      case 'min_nano':
        return run.nano >= Number(value);
      case 'waiting_for':
        return run.waiting.some((waited) => waited.kind === value);
      case 'customer':
      case 'feature':
      case 'task_type':
        return run.tags[name] === value;
      case 'shown':
      case 'status':
      case 'outcome':
      case 'agent':
      case 'release':
      case 'session':
      case 'code':
      case 'root':
      case 'parent':
        return run[name] === value;
      default:
        return !name.startsWith('tag.') || run.tags[name.slice(4)] === value;
    }
  });
}
