import { Group, Title } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useRef, useState } from 'react';

import type { RunLine, RunPage } from '@/api/schema';
import { useKeys } from '@/app/keys';
import { Stale } from '@/app/Stale';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';

import { FilterBar } from './FilterBar';
import { useFreshen } from './freshen';
import { Further } from './Further';
import { Histogram } from './Histogram';
import { NewRuns } from './NewRuns';
import { facetsQuery, runsQuery } from './queries';
import { RunsTable } from './RunsTable';
import { type RunsSearch, without } from './search';
import { Selection } from './Selection';
import { Shares } from './Shares';
import { useArrivals } from './arrivals';
import { ViewsMenu } from './ViewsMenu';
import styles from './runs.module.css';

const NO_ROWS: readonly RunLine[] = [];

/** Which runs are bad, and what do they share? */
export function RunsPage() {
  const search = useSearch({ from: '/inside/runs' });
  const go = useGo();
  const list = useInfiniteQuery({ ...runsQuery(search), placeholderData: keepPreviousData });
  const facets = useQuery({ ...facetsQuery(search), placeholderData: keepPreviousData });
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? NO_ROWS, [list.data]);
  const looked = list.data?.pages.at(-1)?.looked_to ?? null;
  const arrivals = useArrivals(search, list.data && !list.isPlaceholderData ? rows : null);
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const grid = useRef<HTMLDivElement>(null);
  const inView = useFreshen(search);
  const refresh = useRefresh(search, arrivals.clear);
  useKeys('Runs', [{ keys: 'Escape', words: 'drop the selection', run: () => setChosen([]) }], grid);

  const older = (): void => {
    const last = rows.at(-1);
    // Not one earlier: others may have come in the same microsecond. Rather the last row twice than one never.
    if (last) go({ ...search, until: String(last.created_at) });
  };
  return (
    <div className={styles.page}>
      <Group justify="space-between" wrap="nowrap">
        <Title order={1}>Runs</Title>
        <ViewsMenu search={search} go={go} />
      </Group>
      <FilterBar search={search} go={go} />
      <Group justify="space-between" gap="sm">
        <Shares facets={facets.data} error={facets.error} search={search} go={go} />
        <Group gap="sm">
          <NewRuns count={arrivals.count} missed={arrivals.missed} show={() => void refresh()} />
          <Selection chosen={chosen} clear={() => setChosen([])} />
        </Group>
      </Group>
      <Histogram bins={facets.data?.histogram} search={search} go={go} />
      {list.error && rows.length === 0 ? <ErrorBox error={list.error} retry={() => void list.refetch()} /> : null}
      {list.isPending ? <Loading rows={20} height={20} /> : null}
      {list.data && rows.length === 0 && !list.hasNextPage ? <NoRuns search={search} go={go} /> : null}
      {list.data && rows.length === 0 && list.hasNextPage ? <Further looked={looked} busy={list.isFetchingNextPage} go={() => void list.fetchNextPage()} /> : null}
      {rows.length > 0 ? (
        <Stale>
          <RunsTable
            grid={grid}
            rows={rows}
            chosen={chosen}
            choose={setChosen}
            more={list.hasNextPage && !list.isFetchingNextPage ? () => void list.fetchNextPage() : null}
            end={endOf(list.hasNextPage, list.data?.pages.at(-1))}
            looked={looked}
            older={older}
            waiting={list.isPlaceholderData}
            failed={list.isFetchNextPageError ? list.error : null}
            inView={inView}
          />
        </Stale>
      ) : null}
    </div>
  );
}

/** What comes after the last row. */
function endOf(more: boolean, last: RunPage | undefined): 'more' | 'further' | 'window' | 'all' {
  if (more) return last?.looked_to === null ? 'more' : 'further';
  return last?.next ? 'window' : 'all';
}

/** Changes the filter in the address. */
function useGo(): (search: RunsSearch) => void {
  const navigate = useNavigate();
  return (search) => void navigate({ to: '/runs', search });
}

/** Reads the list again from its top, the rows of now staying until the new ones are there. */
function useRefresh(search: RunsSearch, clear: () => void): () => Promise<void> {
  const client = useQueryClient();
  return async () => {
    const { queryKey } = runsQuery(search);
    client.setQueryData(queryKey, (old) => old && { pages: old.pages.slice(0, 1), pageParams: old.pageParams.slice(0, 1) });
    clear();
    await client.refetchQueries({ queryKey, exact: true });
  };
}

function NoRuns({ search, go }: { search: RunsSearch; go: (search: RunsSearch) => void }) {
  const names = Object.keys(search) as (keyof RunsSearch)[];
  if (names.length === 0) return <Empty words="No run has been submitted yet." command="penstock run module:agent --input 'a first question'" />;
  return (
    <Empty words="No run matches.">
      <Group gap="xs" justify="center">
        {names.map((name) => (
          <button key={name} type="button" className={styles.drop} onClick={() => go(without(search, name))}>
            without {name}:{search[name]}
          </button>
        ))}
      </Group>
    </Empty>
  );
}
