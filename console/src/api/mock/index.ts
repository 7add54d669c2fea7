export { startMock } from './start';
