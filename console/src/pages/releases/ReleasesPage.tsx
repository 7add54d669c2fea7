import { Button, Group, Stack, Table, Text, Title } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';

import type { ReleaseLine, ReleaseRoute } from '@/api/schema';
import { useCan } from '@/app/session';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { Begin, Drafting } from './Drafting';
import { ToAgent, ToAll, ToDraft, ToRelease } from './Links';
import { byAgent } from './model/states';
import { Numbers } from './Numbers';
import { releaseQuery, releasesQuery } from './queries';
import { Release } from './Release';
import styles from './releases.module.css';
import { Rollback } from './Rollback';
import { StateMark } from './StateMark';
import { Tool } from './Tool';

/** What is live, what comes next, and how does one get back? */
export function ReleasesPage() {
  const { agent, release, draft } = useSearch({ from: '/inside/releases' });
  if (draft !== undefined) return <Drafting key={draft} agent={draft} />;
  if (release !== undefined) return <Release key={release} id={release} />;
  return agent === undefined ? <All /> : <One key={agent} agent={agent} />;
}

const COMMAND = 'penstock releases draft MODULE:AGENT --instructions FILE';

function useReleases(agent: string | undefined) {
  const found = useInfiniteQuery(releasesQuery(agent));
  const more = found.hasNextPage ? <div><Button size="compact-sm" variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Show older</Button></div> : null;
  return { ...found, releases: found.data?.pages.flatMap((page) => page.items), more };
}

function All() {
  const can = useCan();
  const { releases, error, refetch, more } = useReleases(undefined);
  return (
    <Stack gap="md">
      <Title order={1}>Releases</Title>
      {error ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!releases && !error ? <Loading rows={6} /> : null}
      {releases?.length === 0 ? <Empty words="There are no releases: agents run as their code says." command={COMMAND} /> : null}
      {releases ? <ul className={styles.agents}>{[...byAgent(releases)].map(([agent, of]) => <Agent key={agent} agent={agent} releases={of} />)}</ul> : null}
      {more}
      {can('releases:manage') && can('payloads:read') ? <Begin /> : null}
      {can('releases:approve') ? <Tool /> : null}
    </Stack>
  );
}

/** An agent with what its new runs get, and what waits to be decided. Any of its releases knows the former. */
function Agent({ agent, releases }: { agent: string; releases: readonly ReleaseLine[] }) {
  const { data, error } = useQuery(releaseQuery(releases[0]?.id ?? ''));
  const waiting = releases.filter((one) => one.state === 'draft' || one.state === 'review' || one.state === 'approved');
  return (
    <li data-agent={agent}>
      <Group gap="sm"><ToAgent agent={agent} />{data ? <Route route={data.route} /> : <span className={styles.quiet}>{error ? 'what its new runs get cannot be read' : '…'}</span>}</Group>
      {waiting.map((one) => <div key={one.id}><StateMark state={one.state} /> <ToRelease id={one.id} /> <span className={styles.quiet}>drafted by <Drawn text={one.author} />, <When at={one.at} plain /></span></div>)}
      {releases.some((one) => one.objection !== '') ? <Text size="sm" c="var(--bad)">{plural(releases.filter((one) => one.objection !== '').length, 'release')} of it {releases.filter((one) => one.objection !== '').length === 1 ? 'is' : 'are'} not to be believed here.</Text> : null}
    </li>
  );
}

/** What new runs of an agent get. */
function Route({ route }: { route: ReleaseRoute }) {
  return (
    <span data-route>
      {route.live === '' ? 'new runs are as its code says' : <><StateMark state="live" /> <ToRelease id={route.live} /></>}
      {route.canary === '' ? null : <>; <StateMark state="canary" percent={route.percent} /> <ToRelease id={route.canary} /></>}
    </span>
  );
}

function One({ agent }: { agent: string }) {
  const can = useCan();
  const { releases, error, refetch, more } = useReleases(agent);
  const newest = releases?.[0]?.id;
  const { data: shown } = useQuery({ ...releaseQuery(newest ?? ''), enabled: newest !== undefined });
  return (
    <Stack gap="md">
      <Group gap="sm"><Title order={1}>Releases of <Drawn text={agent} /></Title>{can('releases:manage') && can('payloads:read') ? <ToDraft agent={agent} /> : null}<ToAll /></Group>
      {error ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!releases && !error ? <Loading rows={6} /> : null}
      {releases?.length === 0 ? <Empty words="It has no releases: it runs as its code says." command={COMMAND} /> : null}
      {shown ? <Text component="div"><Route route={shown.route} /></Text> : null}
      {releases && releases.length > 0 ? (
        <>
          {can('costs:read') ? <Numbers agent={agent} /> : <Text size="sm">Numbers of its runs are seen with the right costs:read.</Text>}
          {!shown ? null : can('releases:manage') ? <Rollback route={shown.route} releases={releases} /> : <Text size="sm">To roll back you need the right releases:manage.</Text>}
          <List releases={releases} />
        </>
      ) : null}
      {more}
    </Stack>
  );
}

function List({ releases }: { releases: readonly ReleaseLine[] }) {
  return (
    <section aria-labelledby="list">
      <Title order={2} id="list" mb="xs">All its releases</Title>
      <Table.ScrollContainer minWidth={560}>
        <Table verticalSpacing={4} data-list>
          <Table.Thead><Table.Tr><Table.Th>release</Table.Th><Table.Th>state</Table.Th><Table.Th>since</Table.Th><Table.Th>drafted by</Table.Th><Table.Th>approved by</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {releases.map((one) => (
              <Table.Tr key={one.id}>
                <Table.Td><ToRelease id={one.id} /></Table.Td>
                <Table.Td><StateMark state={one.state} percent={one.percent} /></Table.Td>
                <Table.Td><When at={one.at} plain /></Table.Td>
                <Table.Td><Drawn text={one.author} /></Table.Td>
                <Table.Td><Drawn text={one.approved_by} /></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </section>
  );
}
