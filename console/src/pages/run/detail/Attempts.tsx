import type { AskedPerson, AttemptShown } from '@/api/schema';
import { Duration } from '@/ui/Duration';
import { plural } from '@/ui/format/count';
import { money } from '@/ui/format/money';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';
import { Link } from '@tanstack/react-router';

import styles from '../run.module.css';

/** Every attempt of a call: what was reserved, what it took, why there was another. */
export function Attempts({ attempts }: { attempts: readonly AttemptShown[] }) {
  if (attempts.length === 0) return null;
  return (
    <section className={styles.content}>
      <h3>{plural(attempts.length, 'attempt')}</h3>
      <ol className={styles.plain}>
        {attempts.map((attempt, i) => (
          <li key={i}>
            <strong>{attempt.number}</strong> {attempt.status.replaceAll('_', ' ')}
            {attempt.latency > 0 ? <> · <Duration us={attempt.latency} /></> : null}
            {attempt.because ? <> · because of {attempt.because.replaceAll('_', ' ')}</> : null}
            <span className={styles.quiet}> · {money(attempt.used.nano, attempt.at_maximum ? 'at_maximum' : 'exact')} of {money(attempt.reserved.nano)} reserved</span>
            {attempt.at_maximum ? <span className={styles.quiet}>, charged at its maximum: the real figure was lost</span> : null}
            {attempt.failure ? <div className={styles.bad}><Drawn text={attempt.failure} /></div> : null}
            {attempt.doubt ? <div>in doubt: <Drawn text={attempt.doubt} />{attempt.settled_by ? `; settled by ${attempt.settled_by}` : ''}</div> : null}
          </li>
        ))}
      </ol>
    </section>
  );
}

const QUESTIONS: Readonly<Record<string, string>> = { may_run: 'May it run?', did_it_happen: 'Did it happen?' };

/** Questions to a person that the call gave rise to. */
export function Questions({ approvals }: { approvals: readonly AskedPerson[] }) {
  if (approvals.length === 0) return null;
  return (
    <section className={styles.content}>
      <h3>asked a person</h3>
      {approvals.map((asked) => (
        <div key={asked.id} className={styles.asked}>
          <div><Drawn text={QUESTIONS[asked.question] ?? asked.question} /> <span className={styles.quiet}>{asked.risk ? `${asked.risk} risk` : ''}</span></div>
          <div className={styles.quiet}>asked <When at={asked.asked_at} /></div>
          {asked.decision ? (
            <div>
              <strong>{asked.decision}</strong> by <Drawn text={asked.actor || 'nobody'} />, <When at={asked.decided_at} plain />, after <Duration us={Math.max(0, asked.decided_at - asked.asked_at)} />
              {asked.reason ? <>: “<Drawn text={asked.reason} />”</> : null}
            </div>
          ) : (
            <Link to="/approvals/{-$id}" params={{ id: asked.id }}>Decide</Link>
          )}
        </div>
      ))}
    </section>
  );
}
