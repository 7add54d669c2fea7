import { Button, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { PolicyChecked, PolicyFinding, PolicyProblem, PolicyReplay, PolicyText } from '@/api/schema';
import { count, plural } from '@/ui/format/count';
import { Id } from '@/ui/Id';
import { Drawn, Theirs } from '@/ui/Theirs';
import { Verdict } from '@/ui/Verdict';
import { When } from '@/ui/When';

import { excerpt, replayOf } from './model/words';
import styles from './policies.module.css';
import { Tests } from './Tests';

interface LookedProps {
  readonly checked: PolicyChecked;
  readonly inForce: string | null;
  readonly asked: PolicyText;
  /** Whether the text is another by now than the one that was looked at. */
  readonly changed: boolean;
  readonly goTo: (problem: PolicyProblem) => void;
}

/** What was found of a text: its mistakes, or all that it would change. */
export function Looked({ checked, inForce, asked, changed, goTo }: LookedProps) {
  return (
    <div className={styles.found} data-looked data-stale={changed || undefined} aria-live="polite">
      {changed ? <Text size="sm" c="var(--bad)" role="status" mt="sm">This is of the text as it was before it was changed.</Text> : null}
      {checked.version === null ? <Problems problems={checked.problems} files={asked.files} goTo={goTo} /> : <Sound checked={checked} inForce={inForce} />}
    </div>
  );
}

function Problems({ problems, files, goTo }: { problems: readonly PolicyProblem[]; files: PolicyText['files']; goTo: (problem: PolicyProblem) => void }) {
  return (
    <section aria-label="mistakes" data-problems>
      <Title order={3} mt="sm">It cannot be read: {plural(problems.length, 'mistake')}</Title>
      <ul className={styles.rules}>
        {problems.map((problem, i) => <Mistake key={i} problem={problem} text={files[problem.file] ?? ''} goTo={() => goTo(problem)} />)}
      </ul>
    </section>
  );
}

function Mistake({ problem, text, goTo }: { problem: PolicyProblem; text: string; goTo: () => void }) {
  const place = `${problem.file}:${problem.line}:${problem.column}`;
  const found = excerpt(text, problem.line, problem.column);
  return (
    <li data-mistake={place}>
      <div><Button size="compact-xs" variant="default" onClick={goTo} title="to this place in the text"><Drawn text={place} /></Button> line {count(problem.line)}, column {count(problem.column)}</div>
      <div className={styles.reason}><strong><Drawn text={problem.what} /></strong></div>
      {found ? <pre className={styles.excerpt}><Drawn text={found.line} />{'\n'}<span className={styles.mark} aria-hidden="true">{found.mark}</span></pre> : null}
      {problem.fix ? <div className={styles.reason}><Drawn text={problem.fix} /></div> : null}
    </li>
  );
}

function Sound({ checked, inForce }: { checked: PolicyChecked; inForce: string | null }) {
  const { version, tests, calls, findings, changes, unproved, replay } = checked;
  return (
    <>
      <section aria-label="its tests">
        <Title order={3} mt="sm">It can be read</Title>
        <Text>version <Id id={version ?? ''} />{version === inForce ? ': the rules are those in force' : ''}</Text>
        {tests === null ? null : <Tests tests={tests} />}
      </section>
      <section aria-label="calls that would fare otherwise" data-newly>
        <Title order={3}>Which calls it newly lets go, holds or denies</Title>
        {unproved ? <Text>Nothing was proved: <Drawn text={unproved} />.</Text> : null}
        {!unproved && calls.length === 0 ? <Text>{inForce === null ? 'No policy is in force to compare it with.' : 'None: of every call it says what the policy in force says.'}</Text> : null}
        {calls.length > 0 ? <ul className={styles.rules}>{calls.map((one, i) => <Finding key={i} finding={one} />)}</ul> : null}
      </section>
      <section aria-label="rules that differ" data-changes>
        <Title order={3}>Rules that differ</Title>
        {changes.length === 0 ? <Text>{inForce === null ? 'No policy is in force to compare it with.' : 'None.'}</Text> : null}
        <ul className={styles.rules}>
          {changes.map((change) => (
            <li key={change.rule}>
              <strong>{change.how}</strong> <span className={styles.name}><Drawn text={change.rule} /></span>
              <ul className={styles.list}>{change.lines.map((line, i) => <li key={i}><Drawn text={line} /></li>)}</ul>
            </li>
          ))}
        </ul>
      </section>
      {findings.length > 0 ? (
        <section aria-label="of the text itself">
          <Title order={3}>Of the text itself</Title>
          <ul className={styles.rules}>{findings.map((one, i) => <Finding key={i} finding={one} />)}</ul>
        </section>
      ) : null}
      {replay === null ? null : <Replay replay={replay} />}
    </>
  );
}

const WORD: Readonly<Record<string, string>> = { newly_allow: 'allow', newly_flag: 'flag', newly_hold: 'hold', newly_deny: 'deny' };

function Finding({ finding }: { finding: PolicyFinding }) {
  const verdict = WORD[finding.kind];
  return (
    <li data-finding={finding.kind}>
      <div className={styles.reason}>{verdict === undefined ? null : <><Verdict verdict={verdict} bare /> </>}<Drawn text={finding.words} />{finding.place ? <span className={styles.quiet}> <Drawn text={finding.place} /></span> : null}</div>
      {finding.example === null ? null : <Theirs label="for example this call" text={JSON.stringify(finding.example, null, 2)} />}
    </li>
  );
}

function Replay({ replay }: { replay: PolicyReplay }) {
  const { changes, examples } = replayOf(replay);
  const much = `${plural(replay.calls, 'call')} of ${plural(replay.runs, 'run')}`;
  return (
    <section aria-label="calls that were made" data-replay>
      <Title order={3}>Calls that were made</Title>
      <Text>
        {replay.calls === 0 ? 'No call was made in that time.' : replay.changed === 0 ? `None of ${much} would have fared otherwise.` : <><strong>{plural(replay.changed, 'call')}</strong> of {much} would have fared otherwise.</>}{' '}
        <span className={styles.quiet}>Since <When at={replay.since} plain />{replay.whole ? '' : '; there was more to read than is read: it is at least so many'}{replay.unread > 0 ? `; the arguments of ${plural(replay.unread, 'call')} are erased, and their rules were asked without them` : ''}.</span>
      </Text>
      {changes.length > 0 ? (
        <Table verticalSpacing={2} className={styles.wrap} aria-label="calls that would have fared otherwise">
          <Table.Thead><Table.Tr><Table.Th>was</Table.Th><Table.Th>would be</Table.Th><Table.Th>tool</Table.Th><Table.Th ta="end">calls</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>{changes.map((one, i) => <Table.Tr key={i}><Table.Td><Verdict verdict={one.was} /></Table.Td><Table.Td><Verdict verdict={one.now} /></Table.Td><Table.Td><Drawn text={one.tool} /></Table.Td><Table.Td ta="end">{count(one.calls)}</Table.Td></Table.Tr>)}</Table.Tbody>
        </Table>
      ) : null}
      {examples.length > 0 ? (
        <ul className={styles.list} aria-label="examples">
          {examples.map((one, i) => (
            <li key={i}>
              <When at={one.at} plain /> <Link to="/runs/$id" params={{ id: one.run }} search={{ span: one.path }}><Id id={one.run} still /></Link> <Drawn text={one.tool} />: <Verdict verdict={one.was} />, would be <Verdict verdict={one.now} />{one.rule ? <> by <Drawn text={one.rule} /></> : null}
            </li>
          ))}
        </ul>
      ) : null}
      <Text size="sm" c="var(--quiet)">A run is taken as it went: what an agent would have done instead nobody knows.</Text>
    </section>
  );
}
