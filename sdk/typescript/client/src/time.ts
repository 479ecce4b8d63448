export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

/** Resolves with the promise, or after `ms`, whichever is first. */
export const within = (ms: number, promise: Promise<unknown>): Promise<unknown> => {
  let timer: ReturnType<typeof setTimeout>;
  return Promise.race([promise, new Promise(resolve => (timer = setTimeout(resolve, ms)))]).finally(() => clearTimeout(timer));
};

/** A span of time that has begun. */
export interface Span {
  /** How long it is, in milliseconds. */
  ms: number;
  /** What is left of it, in milliseconds. */
  left(): number;
}

/**
 * A span of time that began `age` milliseconds ago. It is measured by two clocks, and the faster one counts: the
 * monotonic one stops while some machines sleep, and the other one can be set back.
 */
export function begin(ms: number, age = 0): Span {
  const date = Date.now() - age;
  const monotonic = performance.now() - age;
  return { ms, left: () => ms - Math.max(Date.now() - date, performance.now() - monotonic) };
}
