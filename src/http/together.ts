/**
 * Owns how questions that come at once for the same object go to it together.
 * Invariant: at most `in_flight` calls to one object are under way from this isolate; what comes meanwhile goes with the next one.
 * Each asker gets its own answer, or the failure of the call that carried its question.
 *
 * An object answers a call of thirty questions in little more than the time of one, and is billed for one. Somebody alone never
 * waits: only a crowd does, for less than a call takes. Whoever's turn it is sends for all that wait, in a request of its own:
 * `keep` holds that request open until the call is done, also when its client goes away.
 */

export type Limits = { readonly in_flight: number; readonly batch: number };
type Keep = (work: Promise<unknown>) => void;
type Turn<A> = { kind: "answered"; answer: A } | { kind: "failed"; error: unknown } | { kind: "yours" };
type Waiting<Q, A> = { readonly question: Q; readonly take: (turn: Turn<A>) => void };
type Line<Q, A> = { in_flight: number; readonly waiting: Waiting<Q, A>[] };

export type Together<Q, A> = {
  /** `ask` answers every question of a batch, in order; it is called in the request of whoever asks. */
  ask(object: string, question: Q, ask: (questions: Q[]) => Promise<readonly A[]>, keep: Keep): Promise<A>;
};

export function together<Q, A extends NonNullable<unknown>>({ in_flight, batch }: Limits): Together<Q, A> {
  const lines = new Map<string, Line<Q, A>>();

  const passOn = (object: string, line: Line<Q, A>): void => {
    const next = line.waiting.shift();
    if (next) next.take({ kind: "yours" });
    else if (--line.in_flight === 0) lines.delete(object);
  };

  return {
    ask: async (object, question, ask, keep) => {
      const line = lines.get(object) ?? { in_flight: 0, waiting: [] };
      lines.set(object, line);
      if (line.in_flight >= in_flight) {
        const { promise, resolve: take } = Promise.withResolvers<Turn<A>>();
        line.waiting.push({ question, take });
        keep(promise);
        const turn = await promise;
        if (turn.kind === "answered") return turn.answer;
        if (turn.kind === "failed") throw turn.error;
      } else line.in_flight++;
      const others = line.waiting.splice(0, batch - 1);
      const call = carried(question, others, ask).finally(() => passOn(object, line));
      keep(call.catch(() => undefined));
      return call;
    },
  };
}

/** Asks for oneself and for the others, and tells them. */
async function carried<Q, A extends NonNullable<unknown>>(
  own: Q,
  others: readonly Waiting<Q, A>[],
  ask: (questions: Q[]) => Promise<readonly A[]>,
): Promise<A> {
  try {
    const [answer, ...rest] = await ask([own, ...others.map(({ question }) => question)]);
    if (answer === undefined || rest.length !== others.length)
      throw new Error("an object answered another number of questions");
    for (const [n, { take }] of others.entries()) {
      const theirs = rest[n];
      if (theirs !== undefined) take({ kind: "answered", answer: theirs });
    }
    return answer;
  } catch (error) {
    for (const { take } of others) take({ kind: "failed", error });
    throw error;
  }
}
