import { pause } from "./time.js";

/** How long a tab waits for the others, in milliseconds. A frozen tab never gives its turn back: then the second queue counts. */
const LIMITS = [2000, 800];
/** How long a turn is kept after its work, so that the news is in every tab before the next one looks, in milliseconds. */
const SETTLE_MS = 100;

/**
 * Runs `job` in one tab at a time, unless `settled` says that another tab has done it. This saves requests and guards
 * nothing: after the limits the job is run at the same time as another's. `watch` reports news of other tabs.
 */
export function turns(name: string, watch: (listener: () => void) => () => void) {
  const stuck: boolean[] = [];

  function waitAt(queue: number, settled: () => boolean, job: () => Promise<void>): Promise<boolean> {
    return new Promise(resolve => {
      const giveUp = new AbortController();
      const lock = `${name}:${queue}`;
      let mine = false;
      const unwatch = watch(() => settled() && end());
      const timer = setTimeout(() => {
        end();
        stuck[queue] = true;
        navigator.locks.request(lock, () => void (stuck[queue] = false)).catch(() => {});
      }, LIMITS[queue]);
      function end() {
        clearTimeout(timer);
        unwatch();
        giveUp.abort();
        if (!mine) resolve(settled());
      }
      navigator.locks
        .request(lock, { signal: giveUp.signal }, async () => {
          mine = true;
          end();
          if (!settled()) await job();
          resolve(true);
          await pause(SETTLE_MS);
        })
        .catch(end);
    });
  }

  return async (settled: () => boolean, job: () => Promise<void>): Promise<void> => {
    for (const queue of navigator.locks ? LIMITS.keys() : []) {
      if (!stuck[queue] && (await waitAt(queue, settled, job))) return;
    }
    if (!settled()) await job();
  };
}
