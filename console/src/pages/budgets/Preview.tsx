import { Text } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';

import type { BudgetPreview } from '@/api/schema';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, plural } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';
import { Money } from '@/ui/Money';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './budgets.module.css';
import type { Written } from './model/draft';
import { accountWords, inZone } from './model/words';
import { previewQuery } from './queries';

const SHOWN = 10;

/** What a budget would have stopped last week, had it been there. `written`: null while it says nothing that could be asked. */
export function Preview({ written }: { written: Written | null }) {
  const { data, error, isPlaceholderData, refetch } = useQuery({ ...previewQuery(written), placeholderData: keepPreviousData });
  if (written === null) return null;
  if (error) return <ErrorBox error={error} retry={() => void refetch()} />;
  if (!data) return <Loading rows={2} />;
  return (
    <div className={styles.preview} data-preview data-stale={isPlaceholderData || undefined} aria-live="polite">
      <Stopped preview={data} />
      {data.stopped.length > 0 ? (
        <ul>
          {data.stopped.slice(0, SHOWN).map((one) => (
            <li key={JSON.stringify(one.who) + String(one.since)}>
              <Drawn text={accountWords(one.who)} />: <Money nano={one.over_nano} /> of <Money nano={one.nano} /> beyond it, {plural(one.over_runs, 'run')} of {count(one.runs)}, from the hour of {inZone(one.first_over_at, written.timezone)} on
            </li>
          ))}
          {data.stopped.length > SHOWN ? <li>and {plural(data.stopped.length - SHOWN, 'account')} more</li> : null}
        </ul>
      ) : null}
      <Text size="sm" c="var(--quiet)">By the sums by hour of the runs that ended from <When at={data.since} plain /> to <When at={data.until} />.{data.partial ? ' There was more to read than is read: it is at least so much.' : ''}</Text>
    </div>
  );
}

function Stopped({ preview }: { preview: BudgetPreview }) {
  const { stopped, accounts, over_nano: over, over_runs: runs, partial } = preview;
  if (accounts === 0) return <Text>Last week nothing was spent that it covers{partial ? ', as far as was read' : ''}.</Text>;
  if (stopped.length === 0) return <Text>Last week it would have stopped nothing: {accounts === 1 ? 'its account was' : `all its ${count(accounts)} accounts were`} below the limit.</Text>;
  return <Text>Last week it would have stopped <strong>{plural(runs, 'run')}</strong>, and <strong><Money nano={over} certainty={partial ? 'partial' : 'exact'} /></strong> would not have been spent: {count(stopped.length)} of {plural(accounts, 'account')}.</Text>;
}
