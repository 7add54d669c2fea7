import { Anchor, Button, Group, Paper, Stack, Text, Title } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import type { ReactNode } from 'react';

import { ApiProblem } from '@/api/problem';
import type { SharedBudget } from '@/api/schema';
import { useCan } from '@/app/session';
import { Stale } from '@/app/Stale';
import { useSpending } from '@/pages/costs/useSpending';
import { NoRight } from '@/pages/missing/NoRight';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, plural } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';

import { Accounts, Bars, PeriodOf } from './Accounts';
import { BudgetForm } from './BudgetForm';
import styles from './budgets.module.css';
import { fullest, limitWords } from './model/standing';
import { accountWords, coverWords, endWords, periodWords } from './model/words';
import { budgetQuery, budgetsQuery } from './queries';
import { Waiting } from './Waiting';

const BUDGETS = ['budgets'];
const COMMAND = 'penstock budgets set acme-month --match customer=acme --period month --usd 60';

/** What may be spent, what of it is, and what it would have stopped. */
export function BudgetsPage() {
  const can = useCan();
  if (!can('costs:read')) return <NoRight needs="costs:read" />;
  return <Budgets />;
}

function Budgets() {
  const search = useSearch({ from: '/inside/costs/budgets' });
  const can = useCan();
  useSpending(BUDGETS);
  const mayEdit = search.edit !== undefined && can('budgets:set');
  if (search.budget !== undefined) return <One name={search.budget} edits={mayEdit} />;
  if (mayEdit) return <Frame title="New budget"><BudgetForm before={null} /></Frame>;
  return <All />;
}

function All() {
  const can = useCan();
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(budgetsQuery);
  const budgets = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Stack gap="md">
      <Group justify="space-between">
        <Title order={1}>Budgets</Title>
        {can('budgets:set') ? <Button size="compact-sm" renderRoot={(props) => <Link to="/costs/budgets" search={{ edit: 'new' }} {...props} />}>New budget</Button> : null}
      </Group>
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Loading rows={8} /> : null}
      {data && budgets.length === 0 ? <Empty words="No budget above the task is set. Each run has its own all the same." command={COMMAND} /> : null}
      <Stale><ul className={styles.list}>{budgets.map((budget) => <Line key={budget.name} budget={budget} />)}</ul></Stale>
      {hasNextPage ? <div><Button size="compact-sm" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button></div> : null}
      {can('budgets:set') ? null : <Text size="sm">To set or change budgets you need the right budgets:set.</Text>}
    </Stack>
  );
}

function Frame({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Stack gap="md">
      <Group gap="sm">
        <Title order={1}><Drawn text={title} /></Title>
        <Anchor renderRoot={(props) => <Link to="/costs/budgets" search={{}} {...props} />}>All budgets</Anchor>
      </Group>
      {children}
    </Stack>
  );
}

/** What a budget says, in words. */
function Terms({ budget }: { budget: SharedBudget }) {
  return (
    <>
      <div><Drawn text={coverWords(budget.match)} />, {periodWords(budget.period, budget.timezone)}</div>
      <div className={styles.quiet}>{endWords(budget.at_end)}</div>
    </>
  );
}

function Line({ budget }: { budget: SharedBudget }) {
  const first = fullest(budget.accounts);
  const many = budget.more_accounts ? `of its ${count(budget.accounts.length)} newest accounts` : `of ${plural(budget.accounts.length, 'account')}`;
  return (
    <li className={styles.budget} data-budget={budget.name}>
      <div>
        <Anchor className={styles.name} fw={600} renderRoot={(props) => <Link to="/costs/budgets" search={{ budget: budget.name }} {...props} />}><Drawn text={budget.name} /></Anchor>
        <Terms budget={budget} />
      </div>
      <div className={styles.bars}>
        {first === undefined ? <Text c="var(--quiet)">{budget.period === 'run' ? 'No run under way has spent from it' : 'Nothing was spent from it in this period yet'}; its limit is {limitWords(budget)}.</Text> : (
          <>
            {budget.accounts.length > 1 ? <Text size="sm">the fullest {many}: <Drawn text={accountWords(first.who)} /></Text> : null}
            <Bars budget={budget} account={first} />
            <PeriodOf budget={budget} account={first} />
          </>
        )}
      </div>
    </li>
  );
}

function One({ name, edits }: { name: string; edits: boolean }) {
  const can = useCan();
  const { data: budget, error, refetch } = useQuery(budgetQuery(name));
  if (error && !budget) {
    const gone = ApiProblem.of(error).status === 404;
    return <Frame title="Budgets">{gone ? <Empty words="There is no budget of that name." /> : <ErrorBox error={error} retry={() => void refetch()} />}</Frame>;
  }
  if (!budget) return <Loading rows={8} />;
  return (
    <Frame title={budget.name}>
      <Paper withBorder p="sm">
        <Group justify="space-between" align="start">
          <div><Terms budget={budget} /></div>
          {can('budgets:set') && !edits ? <Button size="compact-sm" variant="default" renderRoot={(props) => <Link to="/costs/budgets" search={{ budget: budget.name, edit: '1' }} {...props} />}>Change…</Button> : null}
        </Group>
        {edits ? null : <Waiting name={budget.name} />}
      </Paper>
      {edits ? <BudgetForm key={budget.name} before={budget} /> : null}
      <Accounts budget={budget} />
    </Frame>
  );
}
