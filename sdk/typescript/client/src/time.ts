export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

/** Resolves with the promise, or after `ms`, whichever is first. */
export const within = (ms: number, promise: Promise<unknown>): Promise<unknown> => {
  let timer: ReturnType<typeof setTimeout>;
  return Promise.race([promise, new Promise(resolve => (timer = setTimeout(resolve, ms)))]).finally(() => clearTimeout(timer));
};

/**
 * A span of time that began `age` milliseconds ago. It is measured by two clocks, and the faster one counts: the
 * monotonic one stops while some machines sleep, and the other one can be set back.
 */
export class Span {
  readonly #date: number;
  readonly #monotonic: number;

  constructor(readonly ms: number, age = 0) {
    this.#date = Date.now() - age;
    this.#monotonic = performance.now() - age;
  }

  /** What is left of it, in milliseconds. */
  left(): number {
    return this.ms - Math.max(Date.now() - this.#date, performance.now() - this.#monotonic);
  }
}
