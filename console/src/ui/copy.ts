import { useCallback, useEffect, useRef, useState } from 'react';

import { copyable } from './format/unseen';

/** Copies text without characters that cannot be seen; `done` for two seconds after, `removed` of the last time. */
export function useCopy(): { copy: (text: string) => void; done: boolean; removed: number } {
  const [state, setState] = useState({ done: false, removed: 0 });
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = useCallback((text: string) => {
    const plain = copyable(text);
    void write(plain.text).then((ok) => {
      if (!ok) return;
      setState({ done: true, removed: plain.removed });
      clearTimeout(timer.current);
      timer.current = setTimeout(() => setState((old) => ({ ...old, done: false })), 2000);
    });
  }, []);
  return { copy, ...state };
}

/** The asynchronous clipboard is there on https and loopback only; elsewhere the selection is copied. */
async function write(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.setAttribute('readonly', '');
    document.body.append(area);
    area.select();
    const ok = document.execCommand('copy');
    area.remove();
    return ok;
  }
}
