import { Button, TextInput } from '@mantine/core';
import { type Dispatch, useEffect, useRef, useState } from 'react';

import type { ApprovalShown } from '@/api/schema';
import { useKeys } from '@/app/keys';

import styles from './approvals.module.css';
import { CHOICES, type Event, REASONS, WORDS } from './model/decide';
import { ticks } from './useAttention';

/** Why not: one of the usual reasons by its digit, or words of one's own. */
export function Reasons({ approval, send }: { approval: ApprovalShown; send: Dispatch<Event> }) {
  const region = useRef<HTMLDivElement>(null);
  const [own, setOwn] = useState('');
  const { no } = CHOICES[approval.question];
  const does = WORDS[no ?? 'answer'].does;
  // A word instead of a yes or no goes to the agent as it is.
  const label = no === null ? 'your answer, in words' : 'other reason';
  const presets = REASONS[approval.question];
  const highRisk = approval.risk === 'high';
  const give = (reason: string, repeat = false): void => send({ kind: 'reason', reason, repeat, highRisk, at: ticks() });
  useKeys('Reasons', presets.map((reason, i) => ({ keys: String(i + 1), words: reason, run: (event) => give(reason, event.repeat) })), region);
  useEffect(() => region.current?.focus({ preventScroll: true }), []);
  return (
    <div ref={region} tabIndex={-1} role="group" aria-label="why" className={styles.reasons} data-reasons>
      <strong>{does}: {no === null ? 'what should it do?' : 'why?'}</strong>
      <div className={styles.presets}>
        {presets.map((reason, i) => <Button key={reason} variant="default" size="compact-sm" onClick={() => give(reason)}><kbd className={styles.digit}>{i + 1}</kbd>{reason}</Button>)}
      </div>
      <form
        className={styles.own}
        onSubmit={(event) => {
          event.preventDefault();
          give(own);
        }}
      >
        <TextInput aria-label={label} placeholder={label} maxLength={2000} value={own} onChange={(event) => setOwn(event.currentTarget.value)} style={{ flex: 1 }} />
        <Button type="submit" {...(no === null ? {} : { color: 'red', variant: 'outline' })} disabled={own.trim() === ''}>{does}</Button>
        <Button variant="default" onClick={() => send({ kind: 'back' })}>Back</Button>
      </form>
    </div>
  );
}
