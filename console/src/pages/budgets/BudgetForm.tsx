import { Button, Group, NativeSelect, Paper, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';

import type { SharedBudget } from '@/api/schema';
import { ErrorBox } from '@/ui/ErrorBox';

import styles from './budgets.module.css';
import { Lines } from './Lines';
import { beginsAnew, type Draft, draftOf, EMPTY, type Faults, isRaised, read, zones } from './model/draft';
import { PERIODS, type Period } from './model/words';
import { Preview } from './Preview';
import { Remove } from './Remove';
import { useSetting } from './useSetting';
import { Waiting } from './Waiting';

const ASK_MS = 400;
const PERIOD: Readonly<Record<Period, string>> = { run: 'a run', hour: 'an hour', day: 'a day', month: 'a month', total: 'in all' };
const ZONES = zones();

/** A budget is written, seen on last week's runs, and set. Nothing changes here before the server says so. */
export function BudgetForm({ before }: { before: SharedBudget | null }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [draft, setDraft] = useState<Draft>(before === null ? EMPTY : draftOf(before));
  const [shown, setShown] = useState(false);
  const { written, faults } = read(draft);
  const [asked] = useDebouncedValue(written === null ? '' : JSON.stringify(written), ASK_MS);
  const { setting, put } = useSetting((name) => {
    void client.invalidateQueries({ queryKey: ['budgets'] });
    void navigate({ to: '/costs/budgets', search: { budget: name } });
  });
  const change = (part: Partial<Draft>): void => setDraft({ ...draft, ...part });
  const press = (event: FormEvent): void => {
    event.preventDefault();
    setShown(true);
    if (written !== null) put(draft.name, written);
  };
  const wrong = (field: keyof Faults): string | null => (shown || (field !== 'name' && field !== 'limits') ? (faults[field] ?? null) : null);
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="edit-budget">
      <Title order={2} id="edit-budget" mb="xs">{before === null ? 'What it covers' : 'Change it'}</Title>
      <form onSubmit={press} className={styles.form} noValidate data-budget-form>
        {before === null ? <TextInput label="name" required maw={420} value={draft.name} error={wrong('name')} onChange={(event) => change({ name: event.currentTarget.value })} maxLength={100} autoComplete="off" spellCheck={false} /> : null}
        <Lines lines={draft.lines} error={wrong('lines')} give={(lines) => change({ lines })} />
        <div className={styles.fields}>
          <NativeSelect label="period" data={PERIODS.map((value) => ({ value, label: PERIOD[value] }))} value={draft.period} onChange={(event) => change({ period: event.currentTarget.value as Period })} />
          {draft.period === 'run' || draft.period === 'total' ? null : (
            <>
              <TextInput label="time zone" list="zones" value={draft.timezone} error={wrong('timezone')} onChange={(event) => change({ timezone: event.currentTarget.value })} maxLength={100} autoComplete="off" spellCheck={false} />
              <datalist id="zones">{ZONES.map((zone) => <option key={zone} value={zone} />)}</datalist>
            </>
          )}
        </div>
        <div className={styles.fields}>
          <TextInput label="dollars" description="empty: no limit" inputMode="decimal" value={draft.usd} error={wrong('usd')} onChange={(event) => change({ usd: event.currentTarget.value })} maxLength={20} autoComplete="off" />
          <TextInput label="tokens" description="empty: no limit" inputMode="numeric" value={draft.tokens} error={wrong('tokens')} onChange={(event) => change({ tokens: event.currentTarget.value })} maxLength={20} autoComplete="off" />
          <TextInput label="calls" description="empty: no limit" inputMode="numeric" value={draft.calls} error={wrong('calls')} onChange={(event) => change({ calls: event.currentTarget.value })} maxLength={20} autoComplete="off" />
          <NativeSelect label="at its end" description="of any limit" data={[{ value: 'stop', label: 'runs stop' }, { value: 'park', label: 'runs wait until it is raised' }]} value={draft.atEnd} onChange={(event) => change({ atEnd: event.currentTarget.value as Draft['atEnd'] })} />
        </div>
        {wrong('limits') ? <Text size="sm" c="var(--bad)" role="alert">{wrong('limits')}</Text> : null}
        {before !== null && written !== null && beginsAnew(before, written) ? <Text size="sm" c="var(--bad)" role="alert">Another match, period or zone counts something else: its accounts begin anew, at nothing spent.</Text> : null}
        <Preview written={written !== null && asked !== '' ? (JSON.parse(asked) as typeof written) : null} />
        {before !== null && written !== null && isRaised(before, written) ? <Waiting name={before.name} /> : null}
        {setting.kind === 'failed' ? <ErrorBox error={setting.problem} /> : null}
        {setting.kind === 'unsure' ? <Text size="sm" c="var(--bad)" role="alert">The server did not answer: it may have been set. Setting it again does no harm.</Text> : null}
        <Group gap="sm">
          <Button type="submit" loading={setting.kind === 'asking'} data-set>{before === null ? 'Set the budget' : 'Set'}</Button>
          <Button variant="default" onClick={() => void navigate({ to: '/costs/budgets', search: before === null ? {} : { budget: before.name } })}>Cancel</Button>
          {before === null ? null : <Remove name={before.name} />}
        </Group>
      </form>
    </Paper>
  );
}
