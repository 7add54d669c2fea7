import { CloseButton, Pill, PillsInput, Text } from '@mantine/core';
import { type KeyboardEvent, useId, useState } from 'react';

import { formatFilter, parseFilter } from './filter';
import { type RunsSearch, without } from './search';

const EXAMPLE = 'outcome:failed agent:support-desk cost:>0.05 since:1h';

/** The filter as tokens in one field. Enter adds what is typed; Backspace takes the last token back to be changed. */
export function FilterBar({ search, go }: { search: RunsSearch; go: (search: RunsSearch) => void }) {
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState<readonly string[]>([]);
  const [focused, setFocused] = useState(false);
  const hint = useId();
  const names = Object.keys(search) as (keyof RunsSearch)[];

  const apply = (): void => {
    const parsed = parseFilter(text);
    setWrong(parsed.wrong);
    if (parsed.wrong.length > 0) return;
    setText('');
    go({ ...search, ...parsed.search });
  };
  const press = (event: KeyboardEvent<HTMLInputElement>): void => {
    const last = names.at(-1);
    if (event.key === 'Enter') apply();
    else if (event.key === 'Backspace' && text === '' && last) {
      event.preventDefault();
      setText(formatFilter({ [last]: search[last] ?? '' }));
      go(without(search, last));
    } else if (event.key === 'Escape') event.currentTarget.blur();
  };
  return (
    <div>
      <PillsInput
        size="sm"
        error={wrong.length > 0 ? wrong.join('; ') : undefined}
        rightSection={names.length > 0 ? <CloseButton size="sm" aria-label="drop all filters" onClick={() => go({})} /> : null}
      >
        <Pill.Group>
          {names.map((name) => (
            <Pill key={name} withRemoveButton removeButtonProps={{ 'aria-label': `drop ${name}`, 'aria-hidden': false, tabIndex: 0 }} onRemove={() => go(without(search, name))}>
              {formatFilter({ [name]: search[name] ?? '' })}
            </Pill>
          ))}
          <PillsInput.Field
            data-search
            aria-label="filter runs"
            aria-describedby={hint}
            placeholder={names.length === 0 ? EXAMPLE : ''}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            onKeyDown={press}
            onFocus={() => setFocused(true)}
            onBlur={() => setFocused(false)}
            spellCheck={false}
            autoComplete="off"
          />
        </Pill.Group>
      </PillsInput>
      <Text id={hint} size="xs" c="var(--quiet)" hidden={!focused}>
        outcome shown status agent release customer feature type session code waiting since until cost root parent tag.x_… and the
        beginning of an id. Content is not searched.
      </Text>
    </div>
  );
}
