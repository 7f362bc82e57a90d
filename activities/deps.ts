/** What activities need from outside: clients, folders and clocks come in, so that tests can give their own. */
import type { Store } from '../registry/store.ts';

export interface Deps {
  store: Store;
  /** Caches and run directories of this host: `TEMPER_HOME`. */
  home: string;
  /** Python interpreter with the trainer's packages. */
  python: string;
  /** Folder that holds `trainer/` and `node_modules/`. */
  projectDir: string;
  /** Name of this host, stable over restarts. */
  host: string;
  now: () => Date;
}
