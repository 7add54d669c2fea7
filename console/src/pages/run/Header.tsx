import { Button, Group, Menu, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { AnswerShown, RunShown } from '@/api/schema';
import { useCan } from '@/app/session';
import { useCopy } from '@/ui/copy';
import { Duration } from '@/ui/Duration';
import { plural } from '@/ui/format/count';
import { certaintyOf } from '@/ui/format/money';
import { Id } from '@/ui/Id';
import { Money } from '@/ui/Money';
import { useNow } from '@/ui/now';
import { Outcome } from '@/ui/Outcome';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { Answer } from './Answer';
import { placeWords } from './model/words';
import styles from './run.module.css';
import { Steer } from './Steer';

/** What was asked, what came of it, what the customer saw. */
export function Header({ run }: { run: RunShown }) {
  const now = useNow();
  const asked = run.waiting.find((one) => (one.kind === 'approval' || one.kind === 'doubt') && one.id);
  return (
    <header className={styles.header}>
      <Group gap="sm" wrap="wrap">
        <Title order={1}><Drawn text={run.agent} /></Title>
        <Outcome shown={run.shown} />
        {run.simulated ? <span className={styles.chip}>simulated model</span> : null}
        <Id id={run.id} />
        <Group ml="auto" gap="xs">
          <CopyMenu run={run} />
          <Steer run={run} />
        </Group>
      </Group>
      <p className={styles.sentence}>{run.place !== null && run.status === 'queued' ? `${placeWords(run.place)}. ` : ''}<Drawn text={run.sentence} />{asked ? <> <Link to="/approvals/{-$id}" params={{ id: asked.id }}>Decide</Link></> : null}<HeldBack run={run} /></p>
      <dl className={styles.facts}>
        <div className={styles.wideFact}><dt>goal</dt><dd className={styles.cut} title={run.goal}>{run.goal ? <>“<Drawn text={run.goal} />”</> : 'not shown'}</dd></div>
        <div className={styles.wideFact}><dt>{run.answers.length > 0 || run.outcome === null ? 'customer saw' : 'result'}</dt><dd><Seen answers={run.answers} run={run} /></dd></div>
        <div><dt>submitted</dt><dd><When at={run.created_at} /></dd></div>
        <div><dt>{run.ended_at === null ? 'for' : 'took'}</dt><dd><Duration us={Math.max(0, (run.ended_at ?? now) - run.created_at)} /></dd></div>
        <div><dt>cost</dt><dd><Money nano={run.nano} certainty={certaintyOf({ nano: run.nano, nano_at_maximum: run.used.nano_at_maximum })} copy /></dd></div>
        <div><dt>work</dt><dd>{plural(run.model_calls, 'model call')}, {plural(run.tool_calls, 'tool call')}</dd></div>
        {FACTS.map(([label, of]) => (of(run) ? <div key={label}><dt>{label}</dt><dd><Drawn text={of(run) ?? ''} /></dd></div> : null))}
        {run.parent ? <div><dt>part of</dt><dd><Link to="/runs/$id" params={{ id: run.parent }}><Id id={run.parent} still /></Link></dd></div> : null}
      </dl>
      {run.outcome && run.outcome !== 'succeeded' ? <Why run={run} /> : null}
    </header>
  );
}

/** To what holds a run back that is no person: a budget that has no room, a breaker that is open. */
function HeldBack({ run }: { run: RunShown }) {
  const can = useCan();
  const budget = run.waiting.find((one) => one.kind === 'budget');
  const breaker = run.waiting.some((one) => one.kind === 'breaker') || run.code === 'breaker_open';
  return (
    <>
      {budget && can('costs:read') ? <> <Link to="/costs/budgets" search={{ budget: budget.name }}>Look at the budget</Link></> : null}
      {breaker ? <> <Link to="/controls/breakers">Look at the breakers</Link></> : null}
    </>
  );
}

/** What a run is known by besides its agent. */
const FACTS: readonly (readonly [string, (run: RunShown) => string | undefined])[] = [
  ['customer', (run) => run.tags['customer']],
  ['feature', (run) => run.tags['feature']],
  ['task', (run) => run.tags['task_type']],
  ['release', (run) => run.release],
];

const KINDS: Readonly<Record<string, string>> = {
  provisional: 'a provisional answer', confirmed: 'that it was confirmed', replaced: 'another answer instead', withdrawn: 'that it was withdrawn', final: 'the answer',
};

/** The answers that went out, in order; without any, the result that the caller can fetch. */
function Seen({ answers, run }: { answers: readonly AnswerShown[]; run: RunShown }) {
  if (answers.length === 0) {
    if (run.outcome === null) return <span>nothing yet</span>;
    return run.output?.value === undefined || run.output?.value === null ? <span>no answer</span> : <Answer value={run.output.value} />;
  }
  return (
    <ul className={styles.answers}>
      {answers.map((answer, i) => (
        <li key={i}>
          {KINDS[answer.kind] ?? answer.kind} at <When at={answer.at} plain />
          {answer.content === null || answer.content.hidden ? null : <>: <Answer value={answer.content.value} /></>}
        </li>
      ))}
    </ul>
  );
}

/** Why it did not succeed, what is missing, what would be needed. */
function Why({ run }: { run: RunShown }) {
  const lines = [
    run.code && run.code !== run.outcome ? `code ${run.code}` : '',
    run.first_cause && run.first_cause !== run.code ? `first cause ${run.first_cause}` : '',
    run.missing.length > 0 ? `missing: ${run.missing.join(', ')}` : '',
    run.needed.length > 0 ? `needed: ${run.needed.join(', ')}` : '',
  ].filter(Boolean);
  const isSaid = run.reason === '' || run.sentence.includes(run.reason.replace(/\.+$/, ''));
  if (lines.length === 0 && isSaid) return null;
  return (
    <p className={styles.why}>
      {isSaid ? null : <><Drawn text={run.reason} /> </>}
      <span className={styles.quiet}><Drawn text={lines.join(' · ')} /></span>
    </p>
  );
}

function CopyMenu({ run }: { run: RunShown }) {
  const can = useCan();
  const { copy, done, removed } = useCopy();
  return (
    <>
      {done && removed > 0 ? <Text size="xs" role="status">{plural(removed, 'unseen character')} left out</Text> : null}
      <Menu position="bottom-end" withinPortal>
        <Menu.Target><Button size="compact-sm" variant="default">{done ? 'Copied' : 'Copy ▾'}</Button></Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => copy(JSON.stringify(run, null, 2))}>Run as JSON{can('payloads:read') ? '' : ', without content'}</Menu.Item>
          <Menu.Item onClick={() => copy(globalThis.location.href)}>Link to this view</Menu.Item>
          <Menu.Item onClick={() => copy(run.command)}>Command: <code>{run.command}</code></Menu.Item>
          <Menu.Item onClick={() => copy(run.id)}>Id</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </>
  );
}
