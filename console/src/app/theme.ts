import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

const blue: MantineColorsTuple = ['#e9f1ff', '#cfdfff', '#a0beff', '#6d9bf9', '#4380f3', '#2a6fef', '#1961e6', '#0c55d0', '#004bbb', '#0041a6'];

// Darker than Mantine's own, whose outline button stays under a contrast of 4.5.
const red: MantineColorsTuple = ['#fff0f1', '#ffd9dc', '#ffb3b9', '#ff8d80', '#ff8d80', '#e05565', '#b3152a', '#a30f22', '#a30f22', '#770d18'];

// The hue of the dark tokens: fields and buttons are of the page they stand on.
const dark: MantineColorsTuple = ['#e8eaed', '#c8ced6', '#a3acb8', '#6f7985', '#363d47', '#2b323b', '#1d2128', '#15181d', '#101317', '#0b0d10'];

/** System fonts, small rows, quiet colours: the verdicts are what stands out. */
export const theme = createTheme({
  primaryColor: 'blue',
  primaryShade: { light: 6, dark: 8 },
  colors: { blue, red, dark },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace',
  fontSizes: { xs: '12px', sm: '13px', md: '14px', lg: '16px', xl: '18px' },
  headings: { sizes: { h1: { fontSize: '20px' }, h2: { fontSize: '16px' }, h3: { fontSize: '14px' } } },
  defaultRadius: 'sm',
  respectReducedMotion: true,
  components: {
    Button: { defaultProps: { size: 'sm' } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 300, events: { hover: true, focus: true, touch: true } } },
    Modal: { defaultProps: { centered: true, closeButtonProps: { 'aria-label': 'close' } } },
    Drawer: { defaultProps: { closeButtonProps: { 'aria-label': 'close' } } },
  },
});

/** Mantine's own colours are ours, so that contrast is measured once. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: { '--mantine-color-body': '#ffffff', '--mantine-color-text': '#15181d', '--mantine-color-dimmed': '#59606b', '--mantine-color-placeholder': '#59606b' },
  dark: { '--mantine-color-anchor': '#7ecbfc', '--mantine-color-body': '#15181d', '--mantine-color-text': '#e8eaed', '--mantine-color-dimmed': '#a3acb8', '--mantine-color-placeholder': '#a3acb8' },
});

/** The nonce of this page's style elements: the server puts one into the page, a new one in each answer. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? '';
}
