/** Colours of the page as the canvas needs them: values, not names. */
export interface Colors {
  readonly ink: string;
  readonly quiet: string;
  readonly line: string;
  readonly surface: string;
  readonly raised: string;
  readonly bad: string;
  readonly hold: string;
  readonly deny: string;
  readonly flag: string;
  readonly allow: string;
  readonly kinds: Readonly<Record<string, string>>;
  readonly font: string;
}

/** Reads the colours of the scheme that is in force. */
export function readColors(element: Element): Colors {
  const style = getComputedStyle(element);
  const value = (name: string): string => style.getPropertyValue(name).trim();
  const other = value('--c5');
  return {
    ink: value('--ink'), quiet: value('--quiet'), line: value('--line'), surface: value('--surface'), raised: value('--raised'),
    bad: value('--bad'), hold: value('--hold'), deny: value('--deny'), flag: value('--flag'), allow: value('--allow'),
    kinds: { model: value('--c0'), tool: value('--c3'), child: value('--c2'), document: value('--c7'), message: value('--c6'), '': other },
    font: `11px ${style.fontFamily}`,
  };
}
