import { Button, Kbd, Text } from '@mantine/core';
import { type Dispatch, type ReactNode, useEffect, useRef } from 'react';

import type { ApprovalShown } from '@/api/schema';
import { Drawn } from '@/ui/Theirs';

import styles from './approvals.module.css';
import type { Taking } from './Case';
import { Edit, EditedDiff } from './Edit';
import { LostLine } from './LostLine';
import { inUnits } from './model/canonical';
import { ASKS, type Choice, CHOICES, type Event, type State, TAKE_BACK_MS, WORDS } from './model/decide';
import { Reasons } from './Reasons';
import { ticks, type Watched } from './useAttention';

interface DecideProps {
  readonly approval: ApprovalShown;
  readonly state: State;
  readonly send: Dispatch<Event>;
  readonly watched: Watched;
  /** The caller may decide, and sees what it is about. */
  readonly open: boolean;
  readonly choose: (choice: Choice) => void;
  readonly taking: Taking;
  readonly next: () => void;
  readonly refresh: () => void;
}

/** The foot of the card: its buttons, or how far a decision has come. */
export function Decide(props: DecideProps) {
  const { approval, state, send, open } = props;
  if (!open && state.kind === 'looking') {
    return <Foot><Text size="sm">{props.taking.isHeldByOther ? `${approval.holder} has taken the case over: nobody else decides meanwhile.` : approval.why_not ? `Not yours to decide: ${approval.why_not}.` : 'You cannot decide it without seeing what it would do.'}</Text></Foot>;
  }
  switch (state.kind) {
    case 'looking':
      return <Foot><Buttons {...props} note={state.note} /></Foot>;
    case 'confirming':
      return <Foot><Confirm approval={approval} state={state} send={send} /></Foot>;
    case 'reasons':
      return <Foot><Reasons approval={approval} send={send} /></Foot>;
    case 'editing':
      return <Foot><Edit approval={approval} send={send} /></Foot>;
    case 'sending':
      return <Foot><Sending key={state.since} state={state} send={send} /></Foot>;
    case 'posting':
    case 'done':
      return <Foot><Line>{WORDS[state.choice].does}: waiting until it is on the record…</Line></Foot>;
    case 'unsure':
      return (
        <Foot>
          <Line>Not confirmed; it may have been recorded. It is asked again: the same decision counts once.</Line>
          <Button variant="default" onClick={() => send({ kind: 'again' })}>Ask now</Button>
        </Foot>
      );
    case 'lost':
      return <Foot><LostLine state={state} /><Next next={props.next} /></Foot>;
    case 'locked':
      return (
        <Foot>
          <Line><strong>{state.title}</strong> {state.hint}</Line>
          {state.again ? (
            <Button variant="default" onClick={() => { props.refresh(); send({ kind: 'fresh' }); }}>Look again</Button>
          ) : <Next next={props.next} />}
        </Foot>
      );
  }
}

function Foot({ children }: { children: ReactNode }) {
  return <div className={styles.foot} data-foot>{children}</div>;
}

/** A line that takes the focus from what was pressed, so that Esc works and a held key meets nothing. */
function Line({ children }: { children: ReactNode }) {
  const line = useRef<HTMLParagraphElement>(null);
  useTakeFocus(line);
  return <p ref={line} tabIndex={-1} className={styles.line}>{children}</p>;
}

/** Takes the focus when it is in the card, or nowhere because what had it is gone. */
function useTakeFocus(element: React.RefObject<HTMLElement | null>): void {
  useEffect(() => {
    const active = document.activeElement;
    const here = element.current;
    if (here && (active === document.body || active === null || here.closest('[data-card]')?.contains(active))) here.focus({ preventScroll: true });
  }, [element]);
}

function Next({ next }: { next: () => void }) {
  return <Button variant="default" onClick={next}>To the next</Button>;
}

function Buttons({ approval, watched, choose, note, taking }: DecideProps & { note: string }) {
  const { yes, no } = CHOICES[approval.question];
  const asks = ASKS[approval.question];
  const keyboard = globalThis.matchMedia('(hover: hover)').matches;
  const why = watched.endSeen ? (watched.focused ? '' : `Press the card${keyboard ? ', or j,' : ''} to decide.`) : 'Read the arguments to their end to decide.';
  const dead = watched.armed ? {} : { 'aria-disabled': true, 'data-disabled': true };
  const restored = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // After Esc or a wide step the focus must not be lost with the button that had it.
    if (note && document.activeElement === document.body) restored.current?.closest<HTMLElement>('[data-card]')?.focus({ preventScroll: true });
  }, [note]);
  const was = useRef(taking.isMine);
  useEffect(() => {
    if (was.current === taking.isMine) return;
    was.current = taking.isMine;
    if (document.activeElement === document.body) restored.current?.closest<HTMLElement>('[data-card]')?.focus({ preventScroll: true });
  }, [taking.isMine]);
  return (
    <>
      <div ref={restored} className={styles.buttons}>
        {/* Not `disabled`: a press on it gives the card the focus, and screen readers hear why it does not act. */}
        <Button {...dead} aria-describedby="armed" aria-keyshortcuts={asks.yes} onClick={() => choose(yes)} className={styles.decide}>
          {WORDS[yes].does}{no === null ? '…' : ''} <Kbd ml={6} visibleFrom="sm">{asks.yes}</Kbd>
        </Button>
        {no === null ? null : (
          <Button color="red" variant="outline" {...dead} aria-describedby="armed" aria-keyshortcuts={asks.no} onClick={() => choose(no)} className={styles.decide}>
            {WORDS[no].does}… <Kbd ml={6} visibleFrom="sm">{asks.no}</Kbd>
          </Button>
        )}
      </div>
      <div className={styles.more}>
        {approval.question === 'may_run' ? (
          <Button variant="default" {...dead} aria-describedby="armed" aria-keyshortcuts="e" onClick={() => choose('edit')}>
            Edit… <Kbd ml={6} visibleFrom="sm">e</Kbd>
          </Button>
        ) : null}
        {taking.isMine ? null : <Button variant="default" loading={taking.pending} aria-keyshortcuts="t" onClick={taking.take}>Take over <Kbd ml={6} visibleFrom="sm">t</Kbd></Button>}
      </div>
      <span id="armed" className={styles.note} data-note>{[note, why].filter(Boolean).join('. ')}</span>
    </>
  );
}

/** The second step of what is risky: a line that repeats amount and target. */
function Confirm({ approval, state, send }: { approval: ApprovalShown; state: Extract<State, { kind: 'confirming' }>; send: Dispatch<Event> }) {
  const line = useRef<HTMLButtonElement>(null);
  useTakeFocus(line);
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
        {/* The summary is of what was asked for, and not of what was written in its place. */}
        <strong>{WORDS[state.choice].does}: <Drawn text={state.args === null ? approval.summary : approval.tool} /></strong>
        {state.args === null ? inUnits(approval.args).map((one) => <span key={one.name} className={styles.units}> {one.name}: {one.words}</span>) : <EditedDiff before={approval.args} args={state.args} />}
        <span> <Kbd visibleFrom="sm">Enter</Kbd></span>
      </button>
      <Button variant="default" onClick={() => send({ kind: 'back' })}>Back <Kbd ml={6} visibleFrom="sm">Esc</Kbd></Button>
    </div>
  );
}

/** The time in which a decision can be taken back. */
function Sending({ state, send }: { state: Extract<State, { kind: 'sending' }>; send: Dispatch<Event> }) {
  const back = useRef<HTMLButtonElement>(null);
  useTakeFocus(back);
  return (
    <>
      <div className={styles.countdown} style={{ animationDuration: `${TAKE_BACK_MS}ms` }} aria-hidden="true" />
      <p className={styles.line}>
        Sending: <strong>{WORDS[state.choice].does.toLowerCase()}</strong>{state.reason ? <>, “{state.reason}”</> : null}. Esc takes it back.
      </p>
      <Button ref={back} variant="default" data-take-back onClick={() => send({ kind: 'back' })}>Take back <Kbd ml={6} visibleFrom="sm">Esc</Kbd></Button>
    </>
  );
}
