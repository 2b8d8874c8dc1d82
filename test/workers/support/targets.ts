/**
 * Owns what an id in a path stands for: something real of an account, made for this one request, or nothing at all.
 * Invariant: a path whose ids nobody here can make throws, so that a new route cannot slip through the matrix.
 */
import { newAgent } from "./agent.ts";
import { as, type Person, person, post, send, submitted } from "./client.ts";

export type Ids = Record<string, string>;

type Maker = { of: RegExp; unknown: Ids; make: (owner: Person) => Promise<Ids> };

const NOBODY = "u00000000000000a";

/** The first whose pattern fits the path. */
const MAKERS: readonly Maker[] = [
  {
    of: /(jobs|demo)\/\{id\}/,
    unknown: { id: "j_0123456789ab", n: "0" },
    make: async (owner) => ({ id: await newJob(owner), n: "0" }),
  },
  { of: /\/api\/v1\/keys\/\{keyid\}/, unknown: { keyid: "00000000" }, make: newKey },
  { of: /\/webhooks\/deliveries\/\{id\}/, unknown: { id: "dl_000000000000000000" }, make: newDelivery },
  { of: /\/webhooks\/\{id\}/, unknown: { id: "ep_000000000000" }, make: newEndpoint },
  {
    of: /\/admin\/webhooks\/deliveries\/\{user_id\}\/\{id\}/,
    unknown: { user_id: NOBODY, id: "dl_000000000000000000" },
    make: async (owner) => ({ user_id: owner.account, ...(await newDelivery(owner)) }),
  },
  {
    of: /\/admin\/api-keys\/\{user_id\}\/\{keyid\}/,
    unknown: { user_id: NOBODY, keyid: "00000000" },
    make: async (owner) => ({ user_id: owner.account, ...(await newKey(owner)) }),
  },
  {
    of: /\/admin\/users\/\{user_id\}/,
    unknown: { user_id: NOBODY, tenant: "nobody" },
    make: async () => ({ user_id: (await person()).account, tenant: "tom" }),
  },
  { of: /\/admin\/pools\/\{pool\}/, unknown: { pool: "nowhere" }, make: async () => ({ pool: "default" }) },
  {
    of: /\/admin\/agents\/\{agent\}/,
    unknown: { agent: "ag_000000000000" },
    make: async () => ({ agent: (await newAgent()).agent }),
  },
];

function makerOf(path: string): Maker {
  const maker = MAKERS.find(({ of }) => of.test(path));
  if (!maker) throw new Error(`nobody here can make what ${path} names`);
  return maker;
}

/** Ids of the right form that stand for nothing; none for a path without any. */
export function unknownIds(path: string): Ids {
  return path.includes("{") ? makerOf(path).unknown : {};
}

/** Ids of something that is there and belongs to `owner`. */
export function newTarget(path: string, owner: Person): Promise<Ids> {
  return makerOf(path).make(owner);
}

async function newJob(owner: Person): Promise<string> {
  return (await submitted(owner.key, { prompt: "a cat" })).job_id;
}

async function made(owner: Person, path: string, body: object): Promise<Record<string, string>> {
  const answer = await send(path, post(owner.key, JSON.stringify(body)));
  if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function newKey(owner: Person): Promise<Ids> {
  const { keyid = "" } = await made(owner, "/api/v1/keys", { name: "target" });
  return { keyid };
}

async function newEndpoint(owner: Person): Promise<Ids> {
  const { id = "" } = await made(owner, "/api/v1/webhooks", { url: "https://hooks.example.com/in" });
  return { id };
}

/** A job that is over, with somebody to tell. */
async function newDelivery(owner: Person): Promise<Ids> {
  await newEndpoint(owner);
  const job = await newJob(owner);
  await send(`/api/v1/jobs/${job}`, { ...as(owner.key), method: "DELETE" });
  const log = await (await send("/api/v1/webhooks/deliveries?limit=1", as(owner.key))).json<{
    deliveries: { id: string }[];
  }>();
  const [delivery] = log.deliveries;
  if (!delivery) throw new Error("a canceled job told nobody");
  return { id: delivery.id };
}
