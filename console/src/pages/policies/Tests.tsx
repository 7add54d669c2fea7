import { Text } from '@mantine/core';

import type { PolicyTests } from '@/api/schema';
import { count, plural } from '@/ui/format/count';
import { Drawn } from '@/ui/Theirs';

import styles from './policies.module.css';

/** The tests that stand beside a policy: those that failed with why, the others folded. */
export function Tests({ tests }: { tests: PolicyTests }) {
  const failed = tests.items.filter((one) => !one.passed);
  const passed = tests.items.filter((one) => one.passed);
  if (tests.problem !== '') return <Text c="var(--bad)" role="alert">The tests cannot be read: <Drawn text={tests.problem} /></Text>;
  return (
    <div data-tests>
      {tests.run === 0 ? <Text>There are no tests beside it.</Text> : (
        <Text c={tests.failed > 0 ? 'var(--bad)' : 'var(--ink)'}>
          <span aria-hidden="true">{tests.failed > 0 ? '× ' : '● '}</span>
          {plural(tests.run, 'test')}: {tests.failed === 0 ? 'all pass' : `${count(tests.failed)} fail`}.
        </Text>
      )}
      {failed.length > 0 ? (
        <ul className={styles.list} aria-label="tests that fail">
          {failed.map((one) => <li key={`${one.file} ${one.line} ${one.name}`}><Drawn text={one.name} /> <span className={styles.quiet}><Drawn text={`${one.file}:${one.line}`} /></span>: <Drawn text={one.words} /></li>)}
          {tests.failed > failed.length ? <li>and {count(tests.failed - failed.length)} more</li> : null}
        </ul>
      ) : null}
      {passed.length > 0 ? (
        <details>
          <summary>{plural(tests.run - tests.failed, 'test')} that {tests.run - tests.failed === 1 ? 'passes' : 'pass'}</summary>
          <ul className={styles.list}>
            {passed.map((one) => <li key={`${one.file} ${one.line} ${one.name}`}><Drawn text={one.name} /> <span className={styles.quiet}><Drawn text={`${one.file}:${one.line}`} /></span></li>)}
            {tests.run - tests.failed > passed.length ? <li>and {count(tests.run - tests.failed - passed.length)} more</li> : null}
          </ul>
        </details>
      ) : null}
      {tests.untested.length > 0 ? <Text size="sm" className={styles.old}><span aria-hidden="true">▲ </span>No test is decided by <Drawn text={tests.untested.join(', ')} />.</Text> : null}
    </div>
  );
}
