import { Button, Group, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState } from 'react';

import type { AlikePage, ApprovalAlike } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useKeys } from '@/app/keys';
import { useTopic } from '@/app/live/context';
import { useMe } from '@/app/session';
import { Stale } from '@/app/Stale';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';
import { Verdict } from '@/ui/Verdict';

import styles from '../approvals.module.css';
import { columnsOf, membersOf, sumsOf } from '../model/columns';
import { said, WORDS } from '../model/decide';
import { quorumWords } from '../model/terms';
import { type Answer, boundTo, type Result, type State, whyAlone } from '../model/together';
import { alikeQuery } from '../queries';
import { Risk } from '../Risk';
import { noRepeatedPress, useAttention } from '../useAttention';
import { Foot, tooMany } from './Foot';
import { Rows } from './Rows';
import { useTogether } from './useTogether';

/** Questions that one rule holds: seen together, chosen one by one, decided each by itself. */
export function TogetherPage() {
  useTopic('approvals');
  const { group = '' } = useSearch({ from: '/inside/approvals/together' });
  const [busy, setBusy] = useState(false);
  // Each decision is told to all who look: nothing is read again before the last.
  const { data, error, refetch } = useQuery({ ...alikeQuery(group), enabled: group !== '' && !busy });
  const all = <Link to="/approvals/{-$id}" params={{ id: undefined }}>All that wait</Link>;
  return (
    <div className={styles.page}>
      <Group gap="sm" align="baseline"><Title order={1}>Held by one rule</Title>{all}</Group>
      {group === '' ? <Empty words="Choose in the list of approvals what to decide together." />
        : error && !data ? <ErrorBox error={error} retry={() => void refetch()} />
          : data ? <Stale><Together key={group} page={data} busy={setBusy} /></Stale> : <Loading rows={8} height={32} />}
    </div>
  );
}

/** What has been decided here stays in sight, though the server shows it no more. */
function withKept(items: readonly ApprovalAlike[], sent: readonly ApprovalAlike[], results: ReadonlyMap<string, Result>): readonly ApprovalAlike[] {
  const here = new Set(items.map((item) => item.id));
  const gone = new Map(sent.filter((item) => !here.has(item.id) && results.has(item.id)).map((item) => [item.id, item]));
  return [...items, ...gone.values()];
}

function Together({ page, busy }: { page: AlikePage; busy: (is: boolean) => void }) {
  const region = useRef<HTMLElement>(null);
  const me = useMe().actor;
  const { state, send, results } = useTogether(page.items);
  const [sent, setSent] = useState<readonly ApprovalAlike[]>([]);
  const items = useMemo(() => withKept(page.items, sent, results), [page.items, sent, results]);
  const [first] = items;
  const watched = useAttention(region, items.map(said).join('\n\n'), () => send({ kind: 'left' }));
  const members = useMemo(() => new Map(items.map((item) => [item.id, membersOf(item.args) ?? new Map<string, string>()])), [items]);
  const { same, differing } = useMemo(() => columnsOf([...members.values()]), [members]);
  const now = useNow();
  const alone = new Map(items.map((item) => [item.id, page.items.includes(item) ? whyAlone(item, differing, me, now) : 'it waits no more']));
  const [wanted, setWanted] = useState<ReadonlyMap<string, string>>(new Map());
  const [seen, setSeen] = useState<ReadonlySet<string>>(new Set());
  const bound = 'bound' in state ? new Set(state.bound.map((one) => one.id)) : null;
  // A choice is of what was seen: what has changed since is chosen no more.
  const chosen = items.filter((item) => (bound ? bound.has(item.id) : wanted.get(item.id) === said(item) && alone.get(item.id) === '' && !isSettled(results.get(item.id))));
  const { seeEnd } = watched;
  useEffect(() => seeEnd(true));
  const posting = state.kind === 'posting';
  useEffect(() => busy(posting), [busy, posting]);
  useSaid(state, results);

  const unseen = chosen.filter((item) => !seen.has(item.id)).length;
  const why = chosen.length === 0 ? 'Choose which.' : tooMany(chosen.length) || (unseen > 0 ? `Look at each: ${plural(unseen, 'chosen row')} not in view yet.` : watched.focused ? '' : 'Press a row to decide.');
  const still = state.kind !== 'looking';
  const choose = (id: string, is: boolean): void => {
    const item = items.find((one) => one.id === id);
    const next = new Map(wanted);
    if (is && item) next.set(id, said(item));
    else next.delete(id);
    setWanted(next);
  };
  const free = items.filter((item) => alone.get(item.id) === '' && !isSettled(results.get(item.id)));
  const every = free.length > 0 && free.every((item) => wanted.get(item.id) === said(item));
  const press = (answer: Answer, repeat = false): void => {
    setSent([...sent.filter((item) => results.has(item.id)), ...chosen]);
    send({ kind: 'choose', answer, armed: why === '' && watched.isArmed(), repeat, bound: chosen.map(boundTo) });
  };
  const move = (by: number): void => {
    const boxes = [...(region.current?.querySelectorAll<HTMLInputElement>('[data-choose]:not(:disabled)') ?? [])];
    const at = boxes.findIndex((box) => box === document.activeElement);
    boxes[at === -1 ? 0 : Math.max(0, Math.min(boxes.length - 1, at + by))]?.focus();
  };
  useKeys('Together', [
    { keys: 'j', words: 'to the next row', run: () => move(1) },
    { keys: 'k', words: 'to the row before', run: () => move(-1) },
    { keys: 'x', words: 'choose the row', run: (event) => { if (!event.repeat && document.activeElement?.matches('[data-choose]')) (document.activeElement as HTMLElement).click(); } },
    { keys: 'a', words: 'approve what is chosen', run: (event) => press('approve', event.repeat) },
    { keys: 'd', words: 'deny what is chosen', run: (event) => press('deny', event.repeat) },
    { keys: 'Escape', words: 'take back', run: () => send({ kind: 'back' }) },
  ], region);

  if (!first) return <Empty words="None of these waits any more." />;
  return (
    // What it hears are keys of the buttons in it, which must not be held.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <section ref={region} tabIndex={-1} className={styles.card} aria-labelledby="held" data-together data-armed={(why === '' && watched.armed && !still) || undefined} onFocus={watched.onFocus} onBlur={watched.onBlur} onKeyDownCapture={noRepeatedPress}>
      <header className={styles.head}><Title order={2} id="held">{plural(page.items.length, 'call')} of {first.tool} by {first.agent} {page.items.length === 1 ? 'waits' : 'wait'}{page.more ? ', and maybe more' : ''}</Title><Risk risk={first.risk} /></header>
      <Why page={page} first={first} />
      {same.length > 0 ? (
        <section aria-labelledby="same">
          <Title order={3} id="same">All have</Title>
          <dl className={styles.same}>{same.map(([name, value]) => <div key={name}><dt><Drawn text={name} /></dt><dd className={styles.value}><Drawn text={value} /></dd></div>)}</dl>
        </section>
      ) : null}
      <section aria-labelledby="differ">
        <Group gap="sm" mb="xs"><Title order={3} id="differ">{differing.length > 0 ? 'What differs' : 'Nothing differs in their arguments'}</Title>
          <Button size="compact-sm" variant="default" disabled={still || free.length === 0} onClick={() => setWanted(every ? new Map() : new Map(free.map((item) => [item.id, said(item)])))} data-every>{every ? 'Choose none' : `Choose all ${free.length}`}</Button>
        </Group>
        <Rows items={items} members={members} differing={differing} chosen={new Set(chosen.map((item) => item.id))} alone={alone} results={results} still={still} choose={choose} saw={(id) => setSeen((old) => (old.has(id) ? old : new Set(old).add(id)))} />
      </section>
      <Foot state={state} send={send} tool={first.tool} chosen={chosen.length} sums={sumsOf(chosen.map((item) => members.get(item.id) ?? new Map<string, string>()), [...differing, ...same.map(([name]) => name)])} why={why} choose={press} returning={sent.length > 0} />
    </section>
  );
}

const isSettled = (result: Result | undefined): boolean => result?.kind === 'done' || result?.kind === 'lost';

/** Which rules hold them, and who must allow them. */
function Why({ page, first }: { page: AlikePage; first: ApprovalAlike }) {
  const { terms } = first;
  return (
    <div>
      <ul className={styles.list}>
        {page.why.map((rule) => <li key={rule.rule}><Verdict verdict={rule.verdict} /> <code>{rule.rule}</code> v{rule.version}{rule.reason ? <>: <Drawn text={rule.reason} /></> : null}</li>)}
      </ul>
      {terms && (terms.count > 1 || terms.roles.length > 0) ? <Text size="sm">{quorumWords(terms, 0)} {terms.roles.length > 0 ? `The policy asks for ${terms.roles.join(' or ')}.` : ''}</Text> : null}
      <Text size="sm" c="var(--quiet)">Each is decided by itself, as it stands here; what has changed since is refused.{page.policy ? <> Policy <code>{page.policy.slice(0, 16)}</code>.</> : null}</Text>
    </div>
  );
}

/** Says at once what must not be missed. */
function useSaid(state: State, results: ReadonlyMap<string, Result>): void {
  const { assertive } = useAnnounce();
  const { kind } = state;
  const note = kind === 'looking' ? state.note : '';
  const over = kind === 'over' ? state : null;
  useEffect(() => {
    if (kind === 'looking' && note) assertive(note);
    if (kind === 'sending') assertive('Sending in three seconds. Escape takes it back.');
    if (over) {
      const done = over.bound.filter((one) => results.get(one.id)?.kind === 'done').length;
      assertive(`${done} of ${over.bound.length} ${WORDS[over.answer].did}.`);
    }
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once a state, not at each result
  }, [kind, note, assertive]);
}
