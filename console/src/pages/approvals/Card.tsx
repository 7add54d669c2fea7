import { Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { type RefObject, useEffect, useRef } from 'react';

import type { ApprovalShown } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useKeys } from '@/app/keys';
import { When } from '@/ui/When';
import { Drawn } from '@/ui/Theirs';

import { Arguments } from './Arguments';
import { type Behalf, ByWhoseRight } from './Behalf';
import styles from './approvals.module.css';
import { Case, useCase } from './Case';
import { Decide } from './Decide';
import { Facts } from './Facts';
import { ASKS, type Choice, CHOICES, said, type State, who, WORDS } from './model/decide';
import { Risk } from './Risk';
import { Terms } from './Terms';
import { noRepeatedPress, ticks, useAttention } from './useAttention';
import { useDecision } from './useDecision';

/** What was decided here. `missing`: so many others are needed besides. */
export interface Done {
  readonly run: string;
  readonly summary: string;
  readonly choice: Choice;
  readonly at: number;
  readonly missing: number;
}

interface CardProps {
  readonly approval: ApprovalShown;
  readonly problem: unknown;
  readonly behalf: Behalf;
  /** Whether the person has gone to this card, asked once: then it takes the focus. */
  readonly takesFocus: () => boolean;
  readonly decided: (done: Done) => void;
  readonly next: () => void;
  readonly refresh: () => void;
}

/** One question: facts first, the agent's own words last, and the keys that answer it. */
export function Card({ approval, problem, behalf, takesFocus, decided, next, refresh }: CardProps) {
  const card = useRef<HTMLElement>(null);
  const { state, send } = useDecision(approval, problem, behalf.now);
  const watched = useAttention(card, said(approval), () => send({ kind: 'left' }));
  const taking = useCase(approval, refresh);
  const open = approval.mine && approval.hidden === '' && !taking.isHeldByOther;
  const { yes, no } = CHOICES[approval.question];
  const editable = approval.question === 'may_run';
  const highRisk = approval.risk === 'high';
  useFocus(card, takesFocus);
  useSaid(state);
  const done = state.kind === 'done' ? state : null;
  const tell = useRef(decided);
  useEffect(() => {
    tell.current = decided;
  });
  useEffect(() => {
    if (done) tell.current({ run: approval.run, summary: approval.summary, choice: done.choice, at: done.at, missing: done.missing });
  }, [done, approval.run, approval.summary]);

  const choose = (choice: Choice, repeat = false): void => {
    if (open) send({ kind: 'choose', choice, armed: watched.isArmed(), repeat, highRisk, at: ticks() });
  };
  const asks = ASKS[approval.question];
  useKeys('Card', [
    { keys: asks.yes, words: WORDS[yes].does.toLowerCase(), run: (event) => choose(yes, event.repeat) },
    ...(no === null ? [] : [{ keys: asks.no, words: WORDS[no].does.toLowerCase(), run: (event: globalThis.KeyboardEvent) => choose(no, event.repeat) }]),
    ...(editable ? [{ keys: 'e', words: 'edit, then allow', run: (event: globalThis.KeyboardEvent) => { if (state.kind === 'looking') { event.preventDefault(); choose('edit', event.repeat); } } }] : []),
    { keys: 't', words: 'take the case over', run: (event) => { if (!event.repeat) taking.take(); } },
    { keys: 'Escape', words: 'take back', run: () => send({ kind: 'back' }) },
  ], card);

  return (
    // What it hears are keys of the buttons in it, which must not be held.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <section
      ref={card}
      data-card
      data-armed={(open && watched.armed && state.kind === 'looking') || undefined}
      data-state={state.kind}
      tabIndex={-1}
      aria-labelledby="question"
      className={styles.card}
      onFocus={watched.onFocus}
      onBlur={watched.onBlur}
      onKeyDownCapture={noRepeatedPress}
    >
      <header className={styles.head}>
        <Title order={2} id="question"><Drawn text={approval.summary} /></Title>
        <Risk risk={approval.risk} />
        <span className={styles.expiry}>{approval.expires ? <>ends <When at={approval.expires} /></> : 'does not end by itself'}</span>
      </header>
      <Text size="sm" c="var(--quiet)">
        {asks.words} Tool <code>{approval.tool}</code> of <code>{approval.agent}</code>
        {approval.customer ? <> for <Drawn text={approval.customer} /></> : null}, asked <When at={approval.asked_at} />.{' '}
        <Link to="/runs/$id" params={{ id: approval.run }} search={{ span: approval.path }} className={styles.toRun}>To its run</Link>
      </Text>
      {approval.seen_by.length > 0 ? <Text size="sm" role="status" data-seen>{approval.seen_by.join(', ')} looks at it too.</Text> : null}
      {approval.again ? <Text size="sm" c="var(--flag)" data-again>It is asked anew: <Drawn text={approval.again} />.</Text> : null}
      <Terms approval={approval} />
      <ByWhoseRight behalf={behalf} />
      <Case approval={approval} taking={taking} />
      <Arguments approval={approval} seeEnd={watched.seeEnd} />
      <Facts approval={approval} />
      <Decide approval={approval} state={state} send={send} watched={watched} open={open} taking={taking} choose={choose} next={next} refresh={refresh} />
    </section>
  );
}

/** The share of the window that what stands above the card may take. */
const ABOVE_MAX = 0.35;

/** The card takes the focus when the person has gone to it, never by itself. */
function useFocus(card: RefObject<HTMLElement | null>, takesFocus: () => boolean): void {
  const asked = useRef(takesFocus);
  useEffect(() => {
    if (!asked.current()) return;
    const here = card.current;
    if (!here) return;
    here.focus({ preventScroll: true });
    // What was decided last stands above it, and is to be seen too where there is room.
    if (here.getBoundingClientRect().top + globalThis.scrollY < globalThis.innerHeight * ABOVE_MAX) globalThis.scrollTo({ top: 0 });
    else here.scrollIntoView({ block: 'start' });
  }, [card]);
}

/** Says at once what must not be missed. */
function useSaid(state: State): void {
  const { assertive } = useAnnounce();
  useEffect(() => {
    const words = {
      looking: state.kind === 'looking' ? state.note : '',
      confirming: '',
      reasons: '',
      editing: '',
      sending: 'Sending in three seconds. Escape takes it back.',
      posting: '',
      unsure: 'Not confirmed. It may have been recorded. Asking again.',
      done: state.kind === 'done' && state.missing > 0 ? `Recorded: ${state.missing} more needed.` : 'Recorded.',
      lost: state.kind === 'lost' ? `Not recorded: ${who(state.actor, state.decision)} before you.` : '',
      locked: state.kind === 'locked' ? state.title : '',
    }[state.kind];
    if (words) assertive(words);
  }, [state, assertive]);
}
