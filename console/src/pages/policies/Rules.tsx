import { Group, Text, TextInput, Title } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';

import type { PolicyRuleShown } from '@/api/schema';
import { count, plural } from '@/ui/format/count';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';
import { Verdict } from '@/ui/Verdict';

import { approversWords, conditionsOf, isOld, matching, reviewedDays } from './model/words';
import styles from './policies.module.css';

/** The rules in their order, each with who answers for it. The address holds what is looked for. */
export function Rules({ rules }: { rules: readonly PolicyRuleShown[] }) {
  const { find = '' } = useSearch({ from: '/inside/policies' });
  const navigate = useNavigate();
  const now = useNow();
  const shown = matching(rules, find);
  const old = rules.filter((rule) => isOld(rule.reviewed, now)).length;
  return (
    <section aria-labelledby="rules">
      <Group justify="space-between" align="end" mb="xs">
        <Title order={2} id="rules">Rules</Title>
        <TextInput
          size="xs"
          aria-label="find rules"
          placeholder="find: tool, owner, words"
          value={find}
          onChange={(event) => void navigate({ to: '/policies', search: { find: event.currentTarget.value }, replace: true })}
          maxLength={200}
          autoComplete="off"
          spellCheck={false}
          data-search
        />
      </Group>
      <Text size="sm" c="var(--quiet)">
        {plural(rules.length, 'rule')}{old > 0 ? `, ${count(old)} not reviewed for half a year` : ''}. Of all that apply to a call the strictest decides.
      </Text>
      {shown.length === 0 ? <Text mt="sm">No rule says “<Drawn text={find} />”.</Text> : null}
      <ul className={styles.rules}>{shown.map((rule) => <Rule key={`${rule.file} ${rule.name}`} rule={rule} now={now} />)}</ul>
    </section>
  );
}

function Rule({ rule, now }: { rule: PolicyRuleShown; now: number }) {
  const approvers = approversWords(rule.approvers);
  return (
    <li data-rule={rule.name}>
      <Group gap="sm" align="baseline">
        <Verdict verdict={rule.then} />
        <span className={styles.name}><Drawn text={rule.name} /></span>
        <span className={styles.quiet}><Drawn text={`${rule.file}:${rule.line}`} /></span>
      </Group>
      <div className={styles.reason}><Drawn text={rule.reason} /></div>
      <dl className={styles.conditions}>
        {conditionsOf(rule.when).map(([key, value]) => <Condition key={key} word="when" name={key} value={value} />)}
        {Object.keys(rule.when).length === 0 ? <><dt>when</dt><dd>every call</dd></> : null}
        {conditionsOf(rule.unless).map(([key, value]) => <Condition key={key} word="unless" name={key} value={value} />)}
        {approvers ? <><dt>then</dt><dd><Drawn text={approvers} /></dd></> : null}
      </dl>
      <div className={styles.quiet}>owner <Drawn text={rule.owner} /> · <Reviewed reviewed={rule.reviewed} now={now} /></div>
    </li>
  );
}

function Condition({ word, name, value }: { word: string; name: string; value: string }) {
  return <><dt>{word}</dt><dd><code><Drawn text={name} /></code> <Drawn text={value} /></dd></>;
}

function Reviewed({ reviewed, now }: { reviewed: string; now: number }) {
  const days = reviewedDays(reviewed, now);
  const words = <>reviewed <Drawn text={reviewed} />{days === null ? '' : days === 0 ? ', today' : `, ${plural(days, 'day')} ago`}</>;
  return isOld(reviewed, now) ? <span className={styles.old} data-old><span aria-hidden="true">▲ </span>{words}: due for a review</span> : words;
}
