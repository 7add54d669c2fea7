import { Text } from '@mantine/core';

import type { ControlPreview } from '@/api/schema';
import { Changed } from '@/ui/Changed';
import { CopyLine } from '@/ui/CopyLine';
import { count, plural } from '@/ui/format/count';
import { clock } from '@/ui/format/time';
import { Money } from '@/ui/Money';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';

import styles from './controls.module.css';
import { type Action, type Kind, toolWords } from './model/scope';
import { OpenList } from './OpenList';
import { PREVIEW_MS } from './queries';

/** Twice the time after which it is asked for again: one answer may be late, two may not. */
const OLD_US = PREVIEW_MS * 2 * 1000;

/** Whether what one looks at is of now. */
export function useFresh(asOf: number): boolean {
  return useNow() - asOf < OLD_US;
}

const STOPS: Record<Action, string> = { kill: 'ends', pause: 'pauses', cancel: 'cancels', resume: 'is about' };

function Figure({ n, word }: { n: number; word: string }) {
  return <Changed value={n}><strong>{count(n)}</strong> {word}</Changed>;
}

/** One run stands in one way. */
function One({ preview }: { preview: ControlPreview }) {
  if (preview.running > 0) return <Figure n={preview.running} word="running run" />;
  if (preview.queued > 0) return <Figure n={preview.queued} word="queued run" />;
  return preview.parked > 0 ? <Figure n={preview.parked} word="parked run" /> : <>a run that neither runs nor waits</>;
}

/** How many runs, in which state. Of a tool there are none: its calls are stopped, and not the runs that make them. */
function Reached({ preview, kind, action }: { preview: ControlPreview; kind: Kind; action: Action }) {
  return (
    <>
      {STOPS[action]}{' '}
      {kind === 'run' ? <One preview={preview} /> : (
        <>
          <Figure n={preview.running} word="running" />{action === 'kill' ? '; holds back ' : ', '}
          <Figure n={preview.queued} word="queued" />, <Figure n={preview.parked} word="parked" />
        </>
      )}
    </>
  );
}

/** What it would reach, as of a moment, and what not. */
export function Preview({ preview, kind, action, error }: { preview: ControlPreview; kind: Kind; action: Action; error: unknown }) {
  const fresh = useFresh(preview.as_of);
  return (
    <div data-preview data-stale={fresh ? undefined : true} className={styles.preview}>
      <Text component="div">
        {kind === 'tool' ? <strong>{toolWords[action]}</strong> : <Reached preview={preview} kind={kind} action={action} />}
        {kind === 'tool' ? ' ' : '; '}{plural(preview.open_total, 'call')} under way{kind === 'tool' ? ' now' : <>; {kind === 'run' ? 'it has' : 'they have'} spent <Money nano={preview.spent_nano} /></>}.{' '}
        <span className={styles.quiet}>As of {clock(preview.as_of)}</span>
      </Text>
      {fresh ? null : <Text size="sm" c="var(--bad)" role="alert">That is too old to act on{error ? ': the server does not answer' : ''}. It is being asked for again.</Text>}
      <OpenList effects={preview.open_effects} total={preview.open_total} />
      {preview.not_reached.length > 0 ? (
        <div>
          <Text size="sm" fw={600}>Not reached:</Text>
          <ul className={styles.list}>{preview.not_reached.map((words) => <li key={words}><Drawn text={words} /></li>)}</ul>
        </div>
      ) : null}
      <CopyLine text={preview.command} />
    </div>
  );
}
