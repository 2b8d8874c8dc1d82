/**
 * Owns how questions that come at once for the same object go to it together.
 * Invariant: at most `in_flight` calls to one object are under way from this isolate; what comes meanwhile goes with the next one.
 * Each asker gets its own answer, or the failure of the call that carried its question.
 *
 * An object answers a call of thirty questions in little more than the time of one, and is billed for one. Somebody alone never
 * waits: only a crowd does, for less than a call takes. Whoever's turn it is sends for all that wait, in a request of its own:
 * `keep` holds that request open until the call is done, also when its client goes away. The runtime cuts such a request off in
 * the end, and nobody hears of it: a call of which nothing was heard for `LOST_MS` holds up and answers nobody any more.
 *
 * Each that waits looks at the clock in its own request, for itself and for all: a request that has nothing under way and only
 * waits to be told by another is taken for hung by the runtime, and canceled. A timer of its own says that it is not.
 */

export type Limits = { readonly in_flight: number; readonly batch: number };
type Keep = (work: Promise<unknown>) => void;
/** A place among those under way, since when it is held (ms UTC), and whose questions went along. */
type Call<Q, A> = { since: number; carried: readonly Waiting<Q, A>[] };
type Turn<Q, A> =
  | { kind: "answered"; answer: A }
  | { kind: "failed"; error: unknown }
  | { kind: "yours"; call: Call<Q, A> };
/** Of the turns that it is told to take only the first counts. */
type Waiting<Q, A> = { readonly question: Q; readonly take: (turn: Turn<Q, A>) => void };
type Line<Q, A> = { readonly calls: Set<Call<Q, A>>; readonly waiting: Waiting<Q, A>[] };

/** As long as a request may go on without its client. */
const LOST_MS = 30_000;
const LOOK_MS = LOST_MS / 3;

export type Together<Q, A> = {
  /** `ask` answers every question of a batch, in order; it is called in the request of whoever asks. */
  ask(object: string, question: Q, ask: (questions: Q[]) => Promise<readonly A[]>, keep: Keep): Promise<A>;
};

export function together<Q, A extends NonNullable<unknown>>({ in_flight, batch }: Limits): Together<Q, A> {
  const lines = new Map<string, Line<Q, A>>();

  const passOn = (object: string, line: Line<Q, A>, done: Call<Q, A>): void => {
    if (!line.calls.delete(done)) return;
    const next = line.waiting.shift();
    if (next) next.take({ kind: "yours", call: begin(line) });
    else if (line.calls.size === 0) lines.delete(object);
  };

  return {
    ask: async (object, question, ask, keep) => {
      const line = lines.get(object) ?? { calls: new Set<Call<Q, A>>(), waiting: [] };
      lines.set(object, line);
      giveUpLost(line);
      let call = line.calls.size < in_flight ? begin(line) : null;
      if (call === null) {
        const heard = turnOf(line, question, in_flight);
        keep(heard);
        const turn = await heard;
        if (turn.kind === "answered") return turn.answer;
        if (turn.kind === "failed") throw turn.error;
        call = turn.call;
      }
      const own = call;
      own.carried = line.waiting.splice(0, batch - 1);
      const answer = carried(question, own.carried, ask).finally(() => passOn(object, line, own));
      keep(answer.catch(() => undefined));
      return answer;
    },
  };
}

function begin<Q, A>({ calls }: Line<Q, A>): Call<Q, A> {
  const call = { since: Date.now(), carried: [] };
  calls.add(call);
  return call;
}

/** Ends the calls of which nothing was heard for too long; what came of those they carried nobody knows. */
function giveUpLost<Q, A>({ calls }: Line<Q, A>): void {
  for (const call of calls) {
    // A clock that is set back makes nobody wait for it to catch up.
    call.since = Math.min(call.since, Date.now());
    if (call.since + LOST_MS > Date.now()) continue;
    calls.delete(call);
    const error = new Error("the call that carried a question was lost");
    for (const { take } of call.carried) take({ kind: "failed", error });
  }
}

/** Its place among the calls once it is its turn, or what it came to in another's call. Never rejects. */
async function turnOf<Q, A>(line: Line<Q, A>, question: Q, in_flight: number): Promise<Turn<Q, A>> {
  const { promise, resolve: take } = Promise.withResolvers<Turn<Q, A>>();
  const own = { question, take };
  line.waiting.push(own);
  const timer = setInterval(() => {
    giveUpLost(line);
    const at = line.waiting.indexOf(own);
    if (at < 0 || line.calls.size >= in_flight) return;
    line.waiting.splice(at, 1);
    take({ kind: "yours", call: begin(line) });
  }, LOOK_MS);
  return promise.finally(() => clearInterval(timer));
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
