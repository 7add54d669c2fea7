import { createContext, type ReactNode, type RefObject, useContext, useEffect, useMemo, useRef, useState } from 'react';

/** One key of a page. `keys` is what KeyboardEvent.key says ("j", "Enter", "?"), or "g o" for two in a row. */
export interface Binding {
  readonly keys: string;
  readonly words: string;
  readonly run: (event: KeyboardEvent) => void;
}

interface Group {
  readonly name: string;
  readonly bindings: readonly Binding[];
  readonly region: RefObject<HTMLElement | null> | undefined;
}

interface Registry {
  readonly groups: () => readonly Group[];
  readonly add: (group: () => Group) => () => void;
  readonly on: boolean;
  readonly turn: (on: boolean) => void;
}

const SEQUENCE_MS = 1_000;
const STORED = 'penstock-keys';
const Keys = createContext<Registry | null>(null);

/** A key that types something must not act while something is typed into. */
export function typesInto(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches('textarea, select, [role=combobox], [role=textbox]')) return true;
  return target instanceof HTMLInputElement && !['checkbox', 'radio', 'button', 'range'].includes(target.type);
}

/** The binding for a key after `before` (the first key of a pair, or empty): a pair before a single key. */
export function bindingFor(bindings: readonly Binding[], key: string, before: string): Binding | undefined {
  const pair = before ? bindings.find((one) => one.keys === `${before} ${key}`) : undefined;
  return pair ?? bindings.find((one) => one.keys === key);
}

/** Whether keys of a region act now: the focus is inside. Without a region they act unless a dialog is open. */
function acts(region: HTMLElement | null | undefined): boolean {
  if (region !== undefined) return region?.contains(document.activeElement) ?? false;
  return document.querySelector('[aria-modal="true"]') === null;
}

/** Listens for the keys of all that use `useKeys`. They can be turned off (WCAG 2.1.4). */
export function KeysProvider({ children }: { children: ReactNode }) {
  const groups = useRef(new Set<() => Group>());
  const [on, setOn] = useState(() => localStorage.getItem(STORED) !== 'off');
  const registry = useMemo<Registry>(
    () => ({
      groups: () => [...groups.current].map((group) => group()),
      add(group) {
        groups.current.add(group);
        return () => groups.current.delete(group);
      },
      on,
      turn(next) {
        localStorage.setItem(STORED, next ? 'on' : 'off');
        setOn(next);
      },
    }),
    [on],
  );

  useEffect(() => {
    let before = '';
    let at = 0;
    const press = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.key.length === 1 && (!on || typesInto(event.target))) return;
      if (event.timeStamp - at > SEQUENCE_MS) before = '';
      // The latest group first: a dialog's keys before those of the page below it.
      for (const group of registry.groups().toReversed()) {
        if (!acts(group.region?.current)) continue;
        const binding = bindingFor(group.bindings, event.key, before);
        if (!binding) continue;
        before = '';
        event.preventDefault();
        binding.run(event);
        return;
      }
      before = event.key.length === 1 ? event.key : '';
      at = event.timeStamp;
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, [registry, on]);

  return <Keys value={registry}>{children}</Keys>;
}

/**
 * Keys of a part of the page, shown by `?` under `name`. With `region` they act only while the focus is inside it; a
 * region without a natural focus needs `tabIndex={-1}` or 0.
 */
export function useKeys(name: string, bindings: readonly Binding[], region?: RefObject<HTMLElement | null>): void {
  const registry = useContext(Keys);
  const latest = useRef({ name, bindings, region });
  useEffect(() => {
    latest.current = { name, bindings, region };
  });
  const add = registry?.add;
  useEffect(() => add?.(() => latest.current), [add]);
}

/** All keys in force, and the switch that turns letters off. */
export function useKeyRegistry(): Registry {
  const registry = useContext(Keys);
  if (!registry) throw new Error('useKeyRegistry needs a KeysProvider');
  return registry;
}
