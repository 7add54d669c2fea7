import { Button, Paper, Stack, Text, Title } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';

import type { BudgetAccount, SharedBudget } from '@/api/schema';
import { Stale } from '@/app/Stale';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { relative } from '@/ui/format/duration';
import { Loading } from '@/ui/Loading';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';

import { Bar } from './Bar';
import styles from './budgets.module.css';
import { standingOf } from './model/standing';
import { accountWords, inZone, RESOURCE_WORDS } from './model/words';
import { accountsQuery } from './queries';

/** The limits of an account, one bar each. */
export function Bars({ budget, account }: { budget: SharedBudget; account: BudgetAccount }) {
  return standingOf(budget, account).map((standing) => (
    <Bar key={standing.resource} standing={standing} of={`${RESOURCE_WORDS[standing.resource]} of ${budget.name}, ${accountWords(account.who)}`} />
  ));
}

/** When the period of an account began and ends, in the zone of its budget. */
export function PeriodOf({ budget, account }: { budget: SharedBudget; account: BudgetAccount }) {
  const now = useNow();
  if (account.until === 0) return null;
  return <span className={styles.quiet}>from {inZone(account.since, budget.timezone)}, ends {inZone(account.until, budget.timezone)} ({relative(account.until, now)})</span>;
}

/** All accounts of a budget, the newest first, page by page. */
export function Accounts({ budget }: { budget: SharedBudget }) {
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(accountsQuery(budget.name));
  const accounts = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="accounts">
      <Title order={2} id="accounts" mb="xs">{Object.values(budget.match).includes('*') ? 'Accounts, the newest first' : 'Spent'}</Title>
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Loading rows={4} /> : null}
      {data && accounts.length === 0 ? <Text c="var(--quiet)">Nothing was spent from it in this period yet.</Text> : null}
      <Stale>
        <ul className={styles.list}>
          {accounts.map((account) => (
            <li key={account.id} className={styles.budget} data-account={account.id}>
              <div>
                <div className={styles.name}><Drawn text={accountWords(account.who)} /></div>
                <PeriodOf budget={budget} account={account} />
              </div>
              <div className={styles.bars}><Bars budget={budget} account={account} /></div>
            </li>
          ))}
        </ul>
      </Stale>
      {hasNextPage ? (
        <Stack gap={4} mt="sm" align="start">
          <Text size="sm" c="var(--quiet)">{plural(accounts.length, 'account')} shown.</Text>
          <Button size="compact-sm" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button>
        </Stack>
      ) : null}
    </Paper>
  );
}
