import { Button, Group, NativeSelect, Text, TextInput } from '@mantine/core';

import { groupName } from '@/pages/costs/search';

import styles from './budgets.module.css';
import { DIMENSIONS, type Line } from './model/draft';
import { EACH } from './model/words';

const OWN = 'own';
const isOwn = (name: string): boolean => !DIMENSIONS.some((one) => one === name);

/** Which calls a budget covers: by dimension one value, or an account for each. None: every call. */
export function Lines({ lines, error, give }: { lines: readonly Line[]; error: string | null; give: (lines: readonly Line[]) => void }) {
  const put = (i: number, line: Partial<Line>): void => give(lines.map((one, at) => (at === i ? { ...one, ...line } : one)));
  const free = DIMENSIONS.find((name) => !lines.some((line) => line.name === name)) ?? 'x_';
  return (
    <fieldset className={styles.lines}>
      <legend>covers {lines.length === 0 ? 'every call of the tenant' : 'calls of'}</legend>
      {lines.map((line, i) => (
        <Group key={i} gap="xs" align="end">
          <NativeSelect aria-label={`dimension ${i + 1}`} data={[...DIMENSIONS.map((value) => ({ value, label: groupName(value) })), { value: OWN, label: 'own tag' }]} value={isOwn(line.name) ? OWN : line.name} onChange={(event) => put(i, { name: event.currentTarget.value === OWN ? 'x_' : event.currentTarget.value })} />
          {isOwn(line.name) ? <TextInput aria-label={`name of tag ${i + 1}`} value={line.name} onChange={(event) => put(i, { name: event.currentTarget.value })} maxLength={40} spellCheck={false} autoComplete="off" /> : null}
          <NativeSelect aria-label={`values ${i + 1}`} data={[{ value: EACH, label: 'each, an account of its own' }, { value: 'one', label: 'only' }]} value={line.value === EACH ? EACH : 'one'} onChange={(event) => put(i, { value: event.currentTarget.value === EACH ? EACH : '' })} />
          {line.value === EACH ? null : <TextInput aria-label={`value ${i + 1}`} value={line.value} onChange={(event) => put(i, { value: event.currentTarget.value })} maxLength={300} spellCheck={false} autoComplete="off" />}
          <Button variant="default" size="compact-sm" aria-label={`leave out ${groupName(line.name)}`} onClick={() => give(lines.filter((_, at) => at !== i))}>×</Button>
        </Group>
      ))}
      {error ? <Text size="sm" c="var(--bad)" role="alert">{error}</Text> : null}
      <div><Button variant="default" size="compact-sm" onClick={() => give([...lines, { name: free, value: EACH }])}>{lines.length === 0 ? 'Narrow it' : 'And by'}</Button></div>
    </fieldset>
  );
}
