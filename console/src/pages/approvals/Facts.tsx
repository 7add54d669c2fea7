import { Anchor, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { ApprovalShown, LikeDecisions } from '@/api/schema';
import { duration } from '@/ui/format/duration';
import { Id } from '@/ui/Id';
import { Money } from '@/ui/Money';
import { Drawn, Theirs } from '@/ui/Theirs';
import { Verdict } from '@/ui/Verdict';
import { When } from '@/ui/When';

import styles from './approvals.module.css';
import { numberOf } from './model/canonical';
import { who } from './model/decide';

/** What is known about the question; the agent's own words come last. */
export function Facts({ approval }: { approval: ApprovalShown }) {
  return (
    <>
      <Reach approval={approval} />
      <section aria-labelledby="why">
        <Title order={3} id="why">Why you are asked</Title>
        <ul className={styles.list}>
          {approval.why.map((rule) => (
            <li key={rule.rule}><Verdict verdict={rule.verdict} /> <code>{rule.rule}</code> v{rule.version}{rule.reason ? <>: <Drawn text={rule.reason} /></> : null}</li>
          ))}
        </ul>
        {approval.policy ? <Text size="sm" c="var(--quiet)">policy <code>{approval.policy.slice(0, 16)}</code></Text> : null}
      </section>
      <Like like={approval.like} />
      <section aria-labelledby="so-far">
        <Title order={3} id="so-far">The run so far</Title>
        {approval.goal ? <Theirs label="it was asked to" text={approval.goal} /> : null}
        <ol className={styles.soFar}>{approval.so_far.map((line, i) => <li key={i}><Drawn text={line} /></li>)}</ol>
      </section>
      {approval.agent_says ? (
        <section aria-labelledby="says">
          <Title order={3} id="says">The agent says (unverified)</Title>
          <Theirs text={approval.agent_says} />
        </section>
      ) : null}
    </>
  );
}

/** What a yes reaches. */
function Reach({ approval }: { approval: ApprovalShown }) {
  const { reversible, effect, conflicts, budget_nano, spent_nano } = approval;
  return (
    <section aria-labelledby="reach">
      <Title order={3} id="reach">What it reaches</Title>
      <ul className={styles.list}>
        <li>
          {effect === 'read' ? 'It only reads.' : reversible ? <>Can be undone by <Drawn text={reversible} />.</> : <strong>CANNOT be undone, as far as its tool says.</strong>}
          {effect ? <span className={styles.quiet}> effect: {effect}</span> : null}
        </li>
        <li>The run has spent <Money nano={spent_nano} />{budget_nano ? <> of <Money nano={budget_nano} /></> : null} so far.</li>
        {conflicts.length > 0 ? (
          <li>
            <strong>{conflicts.length} other {conflicts.length === 1 ? 'run asks' : 'runs ask'} for the very same:</strong>{' '}
            {conflicts.map((run) => <Anchor key={run} mr="xs" renderRoot={(props) => <Link to="/runs/$id" params={{ id: run }} {...props} />}><Id id={run} still /></Anchor>)}
          </li>
        ) : <li>No other run that waits asks for the same.</li>}
      </ul>
    </section>
  );
}

/** How people decided on the like. */
function Like({ like }: { like: LikeDecisions }) {
  const total = like.approved + like.edited + like.denied + like.expired;
  return (
    <section aria-labelledby="like">
      <Title order={3} id="like">Similar decisions</Title>
      {total === 0 ? <Text size="sm">None yet on this tool of this agent.</Text> : (
        <>
          <Text size="sm">
            {like.approved} yes{like.edited ? `, ${like.edited} with other arguments` : ''}, {like.denied} no{like.expired ? `, ${like.expired} expired` : ''}
            {like.median_seconds === null || like.median_seconds === undefined ? '' : `; half were decided within ${duration(Math.round(like.median_seconds * 1e6))}`}.
          </Text>
          <ul className={styles.list}>
            {Object.entries(like.numbers).map(([name, among]) => (
              <li key={name}><Drawn text={name} /> {numberOf(name, among.value)}: of {among.count} approved before, {Math.round(among.percentile)} % were at or below; median {numberOf(name, among.median)}</li>
            ))}
            {like.recent.map((past) => (
              <li key={past.run + String(past.at)} className={styles.quiet}>
                <When at={past.at} plain /> {who(past.actor, past.decision)}: <Drawn text={past.summary} />{past.reason ? <>, “<Drawn text={past.reason} />”</> : null}
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
