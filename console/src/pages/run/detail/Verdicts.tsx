import { Link } from '@tanstack/react-router';

import type { SpanShown } from '@/api/schema';
import { plural } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { Drawn } from '@/ui/Theirs';
import { Verdict } from '@/ui/Verdict';

import styles from '../run.module.css';

/** What the gates said, in their order: rule, version, verdict, reason. */
export function Verdicts({ span }: { span: SpanShown }) {
  const { verdicts, passed } = span;
  if (verdicts.length === 0 && passed.length === 0) return null;
  return (
    <section className={styles.content}>
      <h3>gates</h3>
      <ul className={styles.plain}>
        {verdicts.map((said, i) => (
          <li key={i}>
            <Verdict verdict={said.verdict} /> <code>{said.rule}</code> <span className={styles.quiet}>v{said.version}</span>
            {said.reason ? <>: <Drawn text={said.reason} /></> : null}
            {said.code ? <span className={styles.quiet}> ({said.code})</span> : null}
            {said.rule === 'breaker' ? <> <Link to="/controls/breakers">Breakers</Link></> : null}
            {said.rule === 'shared_budget' ? <> <Link to="/costs/budgets">Budgets</Link></> : null}
          </li>
        ))}
      </ul>
      {passed.length > 0 ? (
        <details>
          <summary>{plural(passed.length, 'rule')} allowed it without a remark</summary>
          <p className={styles.quiet}>{passed.join(', ')}</p>
        </details>
      ) : null}
    </section>
  );
}

/** What the agent stated of its decision: options, chosen, why, facts with their age. */
export function Decision({ decision }: { decision: SpanShown['decision'] }) {
  const stated = decision ?? {};
  const facts = (Array.isArray(stated['facts']) ? stated['facts'] : []) as { source?: string; age?: number }[];
  const options = (Array.isArray(stated['options']) ? stated['options'] : []) as unknown[];
  const word = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
  const chosen = stated['chosen'] ?? null;
  const why = stated['why'] ?? null;
  const confidence = stated['confidence'] ?? null;
  return (
    <section className={styles.content}>
      <h3>decision</h3>
      {decision === null ? <p className={styles.quiet}>not stated</p> : (
        <dl className={styles.decision}>
          <dt>chosen</dt><dd>{chosen === null ? `option ${word(stated['chosen_number'] ?? 'not stated')}` : <Drawn text={word(chosen)} />}</dd>
          <dt>of</dt><dd>{options.length > 0 ? <Drawn text={options.map(word).join(' · ')} /> : `${word(stated['options_count'] ?? 'not stated')} options`}</dd>
          <dt>why</dt><dd>{why === null ? 'not stated' : <Drawn text={word(why)} />}</dd>
          <dt>confidence</dt><dd>{confidence === null ? 'not stated' : word(confidence)}</dd>
          <dt>facts</dt><dd>{facts.length === 0 ? 'not stated' : <ul className={styles.plain}>{facts.map((fact, i) => <li key={i}><Drawn text={fact.source ?? ''} /> <Age age={fact.age} /></li>)}</ul>}</dd>
        </dl>
      )}
    </section>
  );
}

/** Microseconds between when the fact was learnt and the decision. */
function Age({ age }: { age: number | undefined }) {
  return <span className={styles.quiet}>{age === undefined ? 'age not stated' : `${duration(age)} old`}</span>;
}
