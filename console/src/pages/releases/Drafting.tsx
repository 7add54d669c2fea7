import { Button, Group, NativeSelect, Stack, Text, Title } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';

import { agentsQuery } from '@/api/queries';
import { useCan } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';

import { DraftForm } from './DraftForm';
import { ToAgent } from './Links';
import { baseOf, OFFERED } from './model/draft';
import { short, stateWords } from './model/states';
import { offeredQuery, releaseQuery, releasesQuery } from './queries';
import styles from './releases.module.css';

/** A release of an agent is written, from what is live or from its code, and looked at before it is kept. */
export function Drafting({ agent }: { agent: string }) {
  const can = useCan();
  const search = useSearch({ from: '/inside/releases' });
  const navigate = useNavigate();
  const may = can('releases:manage') && can('payloads:read');
  const offered = useQuery({ ...offeredQuery(agent), enabled: may });
  const others = useInfiniteQuery({ ...releasesQuery(agent), enabled: may });
  const live = offered.data?.route.live ?? '';
  const from = search.from ?? (live === '' ? OFFERED : live);
  const one = useQuery({ ...releaseQuery(from), refetchInterval: false, staleTime: Infinity, enabled: may && offered.data !== undefined && from !== OFFERED });
  const title = <Group gap="sm"><Title order={1}>Draft a release of <Drawn text={agent} /></Title><ToAgent agent={agent} /></Group>;
  if (!may) return <Stack gap="md">{title}<Text>To draft a release you need the rights releases:manage and payloads:read.</Text></Stack>;
  const error = offered.error ?? (from === OFFERED ? null : one.error);
  const manifest = from === OFFERED ? offered.data?.manifest : one.data?.manifest;
  const releases = (others.data?.pages ?? []).flatMap((page) => page.items);
  const choices = [
    { value: OFFERED, label: 'the code as it is offered here' },
    ...releases.map((each) => ({ value: each.id, label: `${short(each.id)} (${stateWords(each.state)})` })),
    ...(from === OFFERED || releases.some((each) => each.id === from) ? [] : [{ value: from, label: short(from) }]),
  ];
  return (
    <Stack gap="md" data-drafting={agent}>
      {title}
      <NativeSelect label="begin with" description="what is written below begins anew" maw={420} data={choices} value={from} onChange={(event) => void navigate({ to: '/releases', search: { ...search, from: event.currentTarget.value }, replace: true })} />
      {error && !manifest ? <ErrorBox error={error} retry={() => void Promise.all([offered.refetch(), one.refetch()])} /> : null}
      {manifest ? <DraftForm key={from} agent={agent} from={from} base={baseOf(manifest)} /> : error ? null : <Loading rows={8} />}
    </Stack>
  );
}

/** Which agent a release is to be drafted of. */
export function Begin() {
  const navigate = useNavigate();
  const { data } = useQuery(agentsQuery);
  const names = (data?.items ?? []).filter((one) => one.here).map((one) => one.name);
  const [chosen, setChosen] = useState('');
  const agent = chosen === '' ? (names[0] ?? '') : chosen;
  if (names.length === 0) return null;
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void navigate({ to: '/releases', search: { draft: agent } });
  };
  return (
    <form onSubmit={submit} className={styles.form} data-begin>
      <NativeSelect label="draft a release of" data={names} value={agent} onChange={(event) => setChosen(event.currentTarget.value)} />
      <Button type="submit" variant="default">Draft…</Button>
    </form>
  );
}
