import { Button, Kbd, Text, TextInput } from '@mantine/core';
import { type Dispatch, useEffect, useRef, useState } from 'react';

import { useKeys } from '@/app/keys';
import { plural } from '@/ui/format/count';
import { Drawn } from '@/ui/Theirs';

import styles from '../approvals.module.css';
import { REASONS, TAKE_BACK_MS, WORDS } from '../model/decide';
import { type Answer, type Event, type State, TOGETHER_MAX } from '../model/together';
import { ticks } from '../useAttention';

interface FootProps {
  readonly state: State;
  readonly send: Dispatch<Event>;
  readonly tool: string;
  readonly chosen: number;
  readonly sums: readonly string[];
  /** Why a press does not count yet; "" = it does. */
  readonly why: string;
  readonly choose: (answer: Answer, repeat?: boolean) => void;
  /** Something was begun here before: the focus is in the card, or was lost with what had it. */
  readonly returning: boolean;
}

/** The foot of the page: its buttons, or how far the decisions have come. */
export function Foot(props: FootProps) {
  return <div className={styles.foot} data-foot data-state={props.state.kind}><Inside {...props} /></div>;
}

function Inside(props: FootProps) {
  const { state, send, tool, sums } = props;
  switch (state.kind) {
    case 'looking':
      return <Buttons {...props} note={state.note} />;
    case 'reason':
      return <Reason key={state.answer} state={state} send={send} />;
    case 'confirming':
      return <Confirm state={state} send={send} tool={tool} sums={sums} />;
    case 'sending':
      return <Sending key={state.since} state={state} send={send} />;
    case 'posting':
      return (
        <>
          <Line>{WORDS[state.answer].does}: {state.at + 1} of {state.bound.length}{state.tries > 0 ? '; not confirmed, asked again: the same decision counts once' : ''}…</Line>
          <Button variant="default" disabled={state.stop} onClick={() => send({ kind: 'stop' })} data-stop>{state.stop ? 'Stopping after this one' : 'Stop after this one'}</Button>
        </>
      );
    case 'over': {
      const left = state.bound.length - state.at;
      return (
        <>
          <Line>{left === 0 ? 'All were sent; what became of each stands in its row.' : `${state.at} of ${state.bound.length} were sent. ${state.unsure ? 'The next is not confirmed: it may have been recorded, and asked again it counts once. The others' : 'The others'} were not sent.`}</Line>
          {left > 0 ? <Button onClick={() => send({ kind: 'again' })} data-again>Go on with {left}</Button> : null}
          <Button variant="default" onClick={() => send({ kind: 'fresh' })} data-fresh>{left > 0 ? 'Leave the others' : 'Done'}</Button>
        </>
      );
    }
  }
}

/** A line that takes the focus from what was pressed, so that Esc works and a held key meets nothing. */
function Line({ children }: { children: React.ReactNode }) {
  const line = useRef<HTMLParagraphElement>(null);
  useEffect(() => line.current?.focus({ preventScroll: true }), []);
  return <p ref={line} tabIndex={-1} className={styles.line} role="status" data-line>{children}</p>;
}

function Buttons({ chosen, sums, why, choose, note, returning }: FootProps & { note: string }) {
  const here = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // After Esc, or when all is over, the focus must not be lost with the button that had it.
    if (returning && document.activeElement === document.body) here.current?.closest<HTMLElement>('[data-together]')?.focus({ preventScroll: true });
  }, [returning]);
  const dead = why === '' ? {} : { 'aria-disabled': true, 'data-disabled': true };
  return (
    <>
      <div ref={here} className={styles.buttons}>
        <Button {...dead} aria-describedby="armed" aria-keyshortcuts="a" className={styles.decide} onClick={() => choose('approve')}>Approve {chosen}… <Kbd ml={6} visibleFrom="sm">a</Kbd></Button>
        <Button {...dead} color="red" variant="outline" aria-describedby="armed" aria-keyshortcuts="d" className={styles.decide} onClick={() => choose('deny')}>Deny {chosen}… <Kbd ml={6} visibleFrom="sm">d</Kbd></Button>
      </div>
      {chosen > 0 && sums.length > 0 ? <Text size="sm" data-sums>{sums.join('; ')}</Text> : null}
      <span id="armed" className={styles.note} data-note>{[note, why].filter(Boolean).join('. ')}</span>
    </>
  );
}

/** One reason for all of them. */
function Reason({ state, send }: { state: Extract<State, { kind: 'reason' }>; send: Dispatch<Event> }) {
  const region = useRef<HTMLDivElement>(null);
  const [own, setOwn] = useState('');
  const presets = state.answer === 'deny' ? REASONS.may_run : [];
  const give = (reason: string, repeat = false): void => send({ kind: 'reason', reason, repeat });
  useKeys('Reasons', presets.map((reason, i) => ({ keys: String(i + 1), words: reason, run: (event) => give(reason, event.repeat) })), region);
  useEffect(() => (presets.length > 0 ? region.current : region.current?.querySelector('input'))?.focus({ preventScroll: true }), [presets.length]);
  return (
    <div ref={region} tabIndex={-1} role="group" aria-label="why" className={styles.reasons} data-reasons>
      <strong>{WORDS[state.answer].does} {state.bound.length}: why? It goes on the record of each.</strong>
      {presets.length > 0 ? <div className={styles.presets}>{presets.map((reason, i) => <Button key={reason} variant="default" size="compact-sm" onClick={() => give(reason)}><kbd className={styles.digit}>{i + 1}</kbd>{reason}</Button>)}</div> : null}
      <form
        className={styles.own}
        onSubmit={(event) => {
          event.preventDefault();
          give(own);
        }}
      >
        <TextInput aria-label="reason" placeholder="reason" maxLength={2000} value={own} onChange={(event) => setOwn(event.currentTarget.value)} style={{ flex: 1 }} autoComplete="off" />
        <Button type="submit" variant="default" disabled={own.trim() === ''}>Go on…</Button>
        <Button variant="default" onClick={() => send({ kind: 'back' })}>Back</Button>
      </form>
    </div>
  );
}

/** The second step: a line that repeats how many, of what, and what it comes to. */
function Confirm({ state, send, tool, sums }: { state: Extract<State, { kind: 'confirming' }>; send: Dispatch<Event>; tool: string; sums: readonly string[] }) {
  const line = useRef<HTMLButtonElement>(null);
  useEffect(() => line.current?.focus({ preventScroll: true }), []);
  const confirm = (repeat: boolean): void => send({ kind: 'confirm', repeat, at: ticks() });
  return (
    <div className={styles.confirm}>
      <button
        ref={line}
        type="button"
        className={styles.confirmLine}
        data-confirm
        onKeyDown={(event) => {
          if (event.key !== 'Enter' && event.key !== ' ') return;
          event.preventDefault();
          if (event.key === 'Enter') confirm(event.repeat);
        }}
        onClick={() => confirm(false)}
      >
        <strong>{WORDS[state.answer].does} {plural(state.bound.length, 'call')} of {tool}</strong>
        {sums.map((sum) => <span key={sum} className={styles.units}>{sum}</span>)}
        <span className={styles.units}>because: <Drawn text={state.reason} /> <Kbd visibleFrom="sm">Enter</Kbd></span>
      </button>
      <Button variant="default" onClick={() => send({ kind: 'back' })}>Back <Kbd ml={6} visibleFrom="sm">Esc</Kbd></Button>
    </div>
  );
}

function Sending({ state, send }: { state: Extract<State, { kind: 'sending' }>; send: Dispatch<Event> }) {
  const back = useRef<HTMLButtonElement>(null);
  useEffect(() => back.current?.focus({ preventScroll: true }), []);
  return (
    <>
      <div className={styles.countdown} style={{ animationDuration: `${TAKE_BACK_MS}ms` }} aria-hidden="true" />
      <p className={styles.line}>Sending: <strong>{WORDS[state.answer].does.toLowerCase()} {state.bound.length}</strong>, “<Drawn text={state.reason} />”. Esc takes it back.</p>
      <Button ref={back} variant="default" data-take-back onClick={() => send({ kind: 'back' })}>Take back <Kbd ml={6} visibleFrom="sm">Esc</Kbd></Button>
    </>
  );
}

/** How many may be chosen, in words; "" = no more than that were. */
export const tooMany = (chosen: number): string => (chosen > TOGETHER_MAX ? `At most ${TOGETHER_MAX} at a time` : '');
