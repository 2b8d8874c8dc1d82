/**
 * Owns how questions that come at once for the same object go to it together.
 * Invariant: at most `in_flight` calls to one object are under way from this isolate; what comes meanwhile goes with the next one.
 * Each asker gets its own answer, or the failure of the call that carried its question.
 *
 * An object answers a call of thirty questions in little more than the time of one, and is billed for one. Somebody alone never
 * waits: only a crowd does, for less than a call takes. Whoever's turn it is sends for all that wait, in a request of its own:
 * `keep` holds that request open until the call is done, also when its client goes away. The runtime cuts such a request off in
 * the end, and nobody hears of it: a call of which nothing was heard for `LOST_MS` holds up and answers nobody any more.
 */
import { inTime } from "../platform/in-time.ts";

export type Limits = { readonly in_flight: number; readonly batch: number };
type Keep = (work: Promise<unknown>) => void;
/** A place among those under way, and since when it is held (ms UTC). */
type Call = { readonly since: number };
type Turn<A> = { kind: "answered"; answer: A } | { kind: "failed"; error: unknown } | { kind: "yours"; call: Call };
/** `since`: when it came, or when a call took it along (ms UTC). */
type Waiting<Q, A> = { readonly question: Q; readonly take: (turn: Turn<A>) => void; since: number };
type Line<Q, A> = { readonly calls: Set<Call>; readonly waiting: Waiting<Q, A>[] };

/** As long as a request may go on without its client. */
const LOST_MS = 30_000;

export type Together<Q, A> = {
  /** `ask` answers every question of a batch, in order; it is called in the request of whoever asks. */
  ask(object: string, question: Q, ask: (questions: Q[]) => Promise<readonly A[]>, keep: Keep): Promise<A>;
};

export function together<Q, A extends NonNullable<unknown>>({ in_flight, batch }: Limits): Together<Q, A> {
  const lines = new Map<string, Line<Q, A>>();

  const passOn = (object: string, line: Line<Q, A>, done: Call): void => {
    if (!line.calls.delete(done)) return;
    const next = line.waiting.shift();
    if (next) next.take({ kind: "yours", call: begin(line.calls) });
    else if (line.calls.size === 0) lines.delete(object);
  };

  return {
    ask: async (object, question, ask, keep) => {
      const line = lines.get(object) ?? { calls: new Set<Call>(), waiting: [] };
      lines.set(object, line);
      for (const call of line.calls) if (call.since + LOST_MS <= Date.now()) line.calls.delete(call);
      let call = line.calls.size < in_flight ? begin(line.calls) : null;
      if (call === null) {
        const heard = turnOf(line, question);
        keep(heard);
        const turn = await heard;
        if (turn.kind === "answered") return turn.answer;
        if (turn.kind === "failed") throw turn.error;
        call = turn.call;
      }
      const own = call;
      const others = line.waiting.splice(0, batch - 1);
      for (const other of others) other.since = Date.now();
      const answer = carried(question, others, ask).finally(() => passOn(object, line, own));
      keep(answer.catch(() => undefined));
      return answer;
    },
  };
}

function begin(calls: Set<Call>): Call {
  const call = { since: Date.now() };
  calls.add(call);
  return call;
}

/** Its place among the calls once it is its turn, or what it came to in another's call. Never rejects. */
async function turnOf<Q, A>({ calls, waiting }: Line<Q, A>, question: Q): Promise<Turn<A>> {
  const { promise, resolve: take } = Promise.withResolvers<Turn<A>>();
  const own = { question, take, since: Date.now() };
  waiting.push(own);
  for (let left = LOST_MS; left > 0; left = own.since + LOST_MS - Date.now()) {
    const turn = await inTime(promise, left);
    if (turn !== null) return turn;
    const at = waiting.indexOf(own);
    if (at >= 0) {
      waiting.splice(at, 1);
      return { kind: "yours", call: begin(calls) };
    }
  }
  // Another's call carried it and was lost: what came of it nobody knows.
  return { kind: "failed", error: new Error("the call that carried a question was lost") };
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
