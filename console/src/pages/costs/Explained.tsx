import { Drawer, Group, Stack, Table, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Fragment, type ReactNode } from 'react';

import type { CostReason, CostExplained, DearRun } from '@/api/schema';
import { CopyLine } from '@/ui/CopyLine';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, percent, plural } from '@/ui/format/count';
import { Id } from '@/ui/Id';
import { Loading } from '@/ui/Loading';
import { Money } from '@/ui/Money';
import { Outcome } from '@/ui/Outcome';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './costs.module.css';
import { explainedQuery } from './queries';
import { runsOf } from './runs';
import { type CostsSearch, rangeOf } from './search';
import { causeWords, kindWords } from './words';

/** Why a customer costs what it costs: in words, against its peers, by cause, step and run. */
export default function Explained({ search, close }: { search: CostsSearch; close: () => void }) {
  const customer = search.explain ?? '';
  const feature = search.explain_feature ?? '';
  const { data, error, refetch } = useQuery(explainedQuery(search));
  return (
    <Drawer opened onClose={close} position="right" size="lg" title={<>Why <Drawn text={customer} />{feature ? <>, <Drawn text={feature} /></> : null} costs that</>} data-explained>
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Loading rows={12} /> : null}
      {data ? <Body found={data} search={search} /> : null}
    </Drawer>
  );
}

function Body({ found, search }: { found: CostExplained; search: CostsSearch }) {
  const runs = runsOf(['customer', ...(found.feature ? ['feature'] : [])], [found.customer, found.feature], { range: rangeOf(search) }, found.until);
  return (
    <Stack gap="lg">
      <Text fw={600}><Drawn text={found.words} /></Text>
      <dl className={styles.figures}>
        <Fact name="spent"><Money nano={found.nano} certainty={found.partial ? 'partial' : 'exact'} copy /></Fact>
        <Fact name="runs">{runs ? <Link to="/runs" search={runs}>{count(found.runs)}</Link> : count(found.runs)}</Fact>
        <Fact name="a run"><Money nano={found.per_run_nano} copy /></Fact>
        <Fact name={found.peers > 0 ? `a run of the like, median of ${plural(found.peers, 'other customer')}` : 'a run of the like'}>{found.peers > 0 ? <><Money nano={found.peers_per_run_nano} copy />{found.ratio > 0 ? <> · <strong>{ratio(found.ratio)}</strong></> : null}</> : 'no other customer to compare with'}</Fact>
        <Fact name="of prompts from the provider’s cache">{percent(found.cached_share)}</Fact>
      </dl>
      <Part title="Why">
        {found.reasons.length === 0 ? <Text c="var(--quiet)">Nothing stands out.</Text> : <ol className={styles.causes}>{found.reasons.map((cause) => <Cause key={cause.code + cause.name} cause={cause} />)}</ol>}
      </Part>
      <Part title="By step, of these runs">
        <Shares of={found.by_step} name={(step) => (step === '' ? 'the first answer of a run' : `after ${step}`)} />
      </Part>
      <Part title="By what it was paid for"><Shares of={found.by_kind} name={kindWords} /></Part>
      <Part title="Dearest runs"><Runs runs={found.dearest} /></Part>
      <Text size="sm" c="var(--quiet)">
        From <When at={found.since} plain /> to <When at={found.until} />. The records of the {plural(found.looked_at, 'dearest run')} were read, which spent <Money nano={found.looked_at_nano} />; the reasons and steps are of these.{found.partial ? ' Not everything could be counted.' : ''}
      </Text>
      {plain(found.customer) && (found.feature === '' || plain(found.feature)) ? <CopyLine text={`penstock costs explain ${found.customer}${found.feature ? ` --feature ${found.feature}` : ''}`} /> : null}
    </Stack>
  );
}

/** "3.2 times theirs". */
function ratio(value: number): string {
  return `${value >= 10 ? count(Math.round(value)) : value.toFixed(1)} times theirs`;
}

/** Whether a name may stand in a command: nothing that a shell, or who reads it, could take for something else. */
const plain = (name: string): boolean => /^[A-Za-z0-9][\w.@:-]{0,99}$/.test(name);

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return <section><Title order={2} mb={4}>{title}</Title>{children}</section>;
}

function Cause({ cause }: { cause: CostReason }) {
  return (
    <li data-cause={cause.code}>
      <strong>{causeWords(cause.code)}</strong>{cause.name ? <> <code><Drawn text={cause.name} /></code></> : null}: <Drawn text={cause.words} />
      <div className={styles.quiet}>
        {[cause.nano > 0 ? <Fragment key="nano"><Money nano={cause.nano} />, {percent(cause.share)}</Fragment> : null, cause.runs > 0 ? plural(cause.runs, 'run') : null].filter(Boolean).map((part, i) => <Fragment key={i}>{i > 0 ? ', ' : ''}{part}</Fragment>)}
        {cause.examples.length > 0 ? <>: <span className={styles.ids}>{cause.examples.map((run) => <Link key={run} to="/runs/$id" params={{ id: run }}><Id id={run} still /></Link>)}</span></> : null}
      </div>
    </li>
  );
}

/** Amounts as bars against their sum, the dearest first. */
function Shares({ of, name }: { of: Readonly<Record<string, number>>; name: (key: string) => string }) {
  const parts = Object.entries(of).filter(([, nano]) => nano > 0).sort((a, b) => b[1] - a[1]);
  const sum = parts.reduce((total, [, nano]) => total + nano, 0);
  if (parts.length === 0) return <Text c="var(--quiet)">Nothing was charged.</Text>;
  return (
    <ul className={styles.bars}>
      {parts.map(([key, nano]) => (
        <li key={key}>
          <span><Drawn text={name(key)} /></span>
          <span><Money nano={nano} /> · {percent(nano / sum)}</span>
          <span className={styles.barBox} aria-hidden="true"><span className={styles.bar} style={{ width: `${(nano / sum) * 100}%` }} /></span>
        </li>
      ))}
    </ul>
  );
}

function Runs({ runs }: { runs: readonly DearRun[] }) {
  if (runs.length === 0) return <Text c="var(--quiet)">None was looked at.</Text>;
  return (
    <Table.ScrollContainer minWidth={460}>
      <Table verticalSpacing={3}>
        <Table.Thead><Table.Tr><Table.Th>run</Table.Th><Table.Th>agent</Table.Th><Table.Th>outcome</Table.Th><Table.Th ta="end">steps</Table.Th><Table.Th ta="end">spent</Table.Th><Table.Th>in vain</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {runs.map((run) => (
            <Table.Tr key={run.id}>
              <Table.Td><Link to="/runs/$id" params={{ id: run.id }}><Id id={run.id} still /></Link></Table.Td>
              <Table.Td><Drawn text={run.agent} /></Table.Td>
              <Table.Td><Group gap={4} wrap="nowrap">{run.outcome ? <Outcome shown={run.outcome} /> : 'goes on'}{run.code && run.code !== run.outcome ? <span className={styles.quiet}>{run.code}</span> : null}</Group></Table.Td>
              <Table.Td ta="end">{count(run.steps)}</Table.Td>
              <Table.Td ta="end"><Money nano={run.nano} copy /></Table.Td>
              <Table.Td><Drawn text={run.circles} /></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
