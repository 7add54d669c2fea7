import { Group, Text } from '@mantine/core';

import { ApiProblem } from '@/api/problem';
import type { Facets } from '@/api/schema';
import { count, percent, plural } from '@/ui/format/count';

import styles from './runs.module.css';
import type { RunsSearch } from './search';
import { sharesOf } from './shares';

interface SharesProps {
  readonly facets: Facets | undefined;
  readonly error: unknown;
  readonly search: RunsSearch;
  readonly go: (search: RunsSearch) => void;
}

/** What the found runs share that the others do not. A click narrows the filter to it. */
export function Shares({ facets, error, search, go }: SharesProps) {
  if (error && !facets) return <Text size="sm" c="var(--quiet)">How many there are is not known: {ApiProblem.of(error).title}</Text>;
  if (!facets) return <div className={styles.shares} />;
  const shares = Object.keys(search).length > 0 ? sharesOf(facets, search) : [];
  return (
    <Group gap="xs" className={styles.shares} fz="sm">
      <span>
        {facets.sampled ? 'at least ' : ''}{plural(facets.found, 'run')}
        {facets.sampled ? ' (shares are of the newest 10,000)' : ''}
        {shares.length > 0 ? ' share:' : ''}
      </span>
      {shares.map((share) => (
        <button key={share.name + share.value} type="button" className={styles.share} onClick={() => go({ ...search, [share.name]: share.value })}>
          {share.name} <strong>{share.value}</strong> {count(share.count)}/{count(facets.found)} <span className={styles.quiet}>(others {percent(share.elsewhere)})</span>
        </button>
      ))}
    </Group>
  );
}
