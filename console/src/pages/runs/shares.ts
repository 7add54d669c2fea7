import type { Facets } from '@/api/schema';

import type { RunsSearch } from './search';

const FACETS = ['release', 'customer', 'agent', 'code', 'feature', 'task_type', 'outcome'] as const;
type FacetName = (typeof FACETS)[number];

/** A value that the found runs have more often than the others. */
export interface Share {
  readonly name: FacetName;
  readonly value: string;
  readonly count: number;
  readonly share: number;
  readonly elsewhere: number;
}

const AT_LEAST = 0.3;
const ABOVE = 0.2;

/** What sets the found runs apart: values that at least two of them have, 20 points more often than the others, most apart first. Of nothing when there are no others. */
export function sharesOf(facets: Facets, search: RunsSearch, most = 4): Share[] {
  if (facets.others === 0) return [];
  // What a filter asks for is no finding; `shown` of an ended run is its outcome, and so is its code at times.
  return FACETS.filter((name) => search[name] === undefined && !(name === 'outcome' && search.shown))
    .flatMap((name) => facets[name].map((facet) => ({ name, ...facet })))
    .filter((facet) => facet.value !== search.outcome)
    .filter((facet) => facet.count >= 2 && facet.share >= AT_LEAST && facet.share - facet.elsewhere >= ABOVE)
    .sort((a, b) => b.share - b.elsewhere - (a.share - a.elsewhere) || b.count - a.count)
    .slice(0, most);
}
