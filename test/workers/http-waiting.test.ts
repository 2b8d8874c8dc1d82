/**
 * Holds generate and `Prefer: wait` to CONTRACT 1: a bounded wait that the terminal commit ends, through a real account object.
 */
import { abortAllDurableObjects } from "cloudflare:test";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { forgetKey } from "../../src/http/middleware/verified-keys.ts";
import { accountOf, poolOf } from "../../src/objects/locate.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import { keyIdSchema } from "../../src/protocol/ids.ts";
import { anyJobs, bindings, fileOf, METRICS, POOL, seenAs } from "./support/account.ts";
import { call, complete, firstJob, leased, refused, total, type View } from "./support/again.ts";
import { person, post, send } from "./support/client.ts";
import { controlSocket } from "./support/sockets.ts";

describe("waiting for the end", () => {
  beforeAll(async () => {
    const secret_sha256 = sha256Hex("waiting");
    await poolOf(bindings, POOL).createAgent({
      agent: "agent-a",
      name: "a",
      keyid: keyIdSchema.parse("0waiting"),
      secret_sha256,
    });
  });

  const idle = async () => {
    const socket = await controlSocket({ agent: "agent-a", name: "a" });
    socket.say({
      type: "hello",
      agent: "agent-a",
      instance: "one",
      version: "1",
      slots: [{ slot: 0, state: "busy" }],
      capability_hash: "h",
    });
    socket.say({ type: "known?", refs: [] });
    await socket.frame(({ type }) => type === "taken");
    return socket;
  };

  it("is 503 with Retry-After and stores nothing while no agent is connected", async () => {
    const user = await person();
    const answer = await call(user, "POST", "/generate", '{"prompt": "a"}');
    expect(answer.headers.get("Retry-After")).toBe("5");
    expect(await refused(answer)).toEqual([503, "BACKEND_UNAVAILABLE"]);
    expect(await total(user)).toBe(0);
  });

  it.each([
    ["an Idempotency-Key", '{"prompt": "a"}', { "Idempotency-Key": "once" }],
    ["the body of an account that asked for it", '{"prompt": "a", "seed": 1}', {}],
  ])("replays %s although the agents have gone since", async (_, body, headers) => {
    const user = await person();
    const asked = { dedupe_without_key: true };
    await accountOf(bindings, user.account).changeAccount(asked, { by: "operator", actor: "a", request_id: "r" });
    const generate = () => call(user, "POST", "/generate", body, headers);
    const socket = await idle();
    const first = generate();
    const job = await firstJob(user);
    await complete(user, job);
    expect((await first).status).toBe(201);
    socket.socket.close();
    await vi.waitFor(async () => expect((await poolOf(bindings, POOL).status()).agents.online).toBe(0));
    // Past the 5 s for which the pool's last word is believed.
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 6_000 });
    const replay = await generate().finally(() => vi.useRealTimers());
    expect([replay.status, (await replay.json<View>()).job_id]).toEqual([200, job]);
  });

  it("answers 201 within 50 ms of the terminal commit, polling nothing", async () => {
    const socket = await idle();
    const took: number[] = [];
    // The best of a few: a machine with other work is not what is measured.
    for (let n = 0; n < 3; n++) {
      const user = await person();
      const waiting = call(user, "POST", "/generate/", '{"prompt": "a lighthouse"}');
      const job = await firstJob(user);
      const lease = await leased(user, job);
      const stub = accountOf(bindings, user.account);
      const grant = await stub.grantUploads(lease);
      if (!grant.ok) throw new Error("no grant");
      const file = fileOf(grant.value.prefix);
      const spy = vi.spyOn(bindings.ACCOUNT, "get");
      await stub.complete(lease, [file], seenAs([file]), METRICS);
      const committedAt = performance.now();
      const answer = await waiting;
      took.push(performance.now() - committedAt);
      expect(spy.mock.calls, "calls of any account between commit and answer").toEqual([]);
      spy.mockRestore();
      expect([answer.status, answer.headers.get("Location")]).toEqual([201, `/api/v1/jobs/${job}`]);
      expect(await answer.json()).toMatchObject({ job_id: job, status: "succeeded" });
    }
    expect(Math.min(...took)).toBeLessThan(50);
    socket.socket.close();
  });

  it("answers 202 with the job when the wait ends first, and at once for wait=0", async () => {
    const user = await person();
    const answer = await call(user, "POST", "/jobs", '{"prompt": "a"}', { Prefer: "respond-async, wait=1" });
    expect([answer.status, answer.headers.get("Preference-Applied")]).toEqual([202, "wait=1"]);
    expect(await answer.json()).toMatchObject({ status: "queued", params: { prompt: "a" } });
    expect((await call(user, "POST", "/jobs", '{"prompt": "a"}', { Prefer: "wait=0" })).status).toBe(202);
  });

  it("waits on after the account object was killed under it", async () => {
    const user = await person();
    const waiting = call(user, "POST", "/jobs", '{"prompt": "a"}', { Prefer: "wait=20" });
    const job = await firstJob(user);
    await abortAllDurableObjects();
    await complete(user, job);
    const answer = await waiting;
    expect([answer.status, (await answer.json<View>()).status]).toEqual([201, "succeeded"]);
  });

  it("ends all the same when the account object never answers it", async () => {
    const user = await person();
    const silent = (stub: object) => ({
      submit: (...args: unknown[]) => Reflect.get(stub, "submit")(...args),
      awaitEnd: () => new Promise(() => undefined),
    });
    const { ACCOUNT } = bindings;
    const over = {
      ACCOUNT: {
        idFromName: (name: string) => ACCOUNT.idFromName(name),
        get: (id: DurableObjectId) => silent(ACCOUNT.get(id)),
      } as never,
    };
    const answer = await send("/api/v1/jobs", post(user.key, '{"prompt": "a"}', { Prefer: "wait=1" }), over);
    expect([answer.status, (await answer.json<View>()).status]).toEqual([202, "queued"]);
  });

  it("ends for a canceled job too, and counts both kinds in a batch", async () => {
    const socket = await idle();
    const user = await person();
    const waiting = call(user, "POST", "/generate/batch", '{"requests": [{"prompt": "a"}, {"prompt": "b"}]}');
    const [one, two] = [await firstJob(user, 0), await firstJob(user, 1)];
    await complete(user, one);
    await call(user, "DELETE", `/jobs/${two}`);
    const answer = await waiting;
    expect(answer.status).toBe(201);
    expect(await answer.json()).toMatchObject({ total: 2, completed: 1, failed: 1 });
    socket.socket.close();
  });

  it("is 504 when the job ran into its time limit", async () => {
    const socket = await idle();
    const user = await person();
    const waiting = call(user, "POST", "/generate", '{"prompt": "a", "timeout_seconds": 1}');
    await leased(user, await firstJob(user));
    expect(await refused(await waiting)).toEqual([504, "TIMEOUT"]);
    socket.socket.close();
  });

  it("refuses the answer to a key revoked while it waited", async () => {
    const user = await person();
    const waiting = call(user, "POST", "/jobs", '{"prompt": "a"}', { Prefer: "wait=20" });
    const job = await firstJob(user);
    await accountOf(bindings, user.account).revokeKey(keyIdSchema.parse(user.keyid));
    await complete(user, job);
    expect((await waiting).status).toBe(401);
  });

  it("refuses the answer to a service key revoked while it waited for its tenant's job", async () => {
    const service = await person("service", "pro");
    const account = tenantAccountId(service.account, "tom");
    const waiting = call(service, "POST", "/jobs", '{"prompt": "a"}', { Prefer: "wait=20", "X-User-ID": "tom" });
    const job = await vi.waitFor(async () => {
      const page = await accountOf(bindings, account).listJobs({ by: "internal", keyid: "test" }, anyJobs);
      if (!page.ok || !page.value.records[0]) throw new Error("not yet");
      return page.value.records[0].job;
    });
    await accountOf(bindings, service.account).revokeKey(keyIdSchema.parse(service.keyid));
    forgetKey(service.account, service.keyid);
    await complete({ ...service, account }, job);
    expect((await waiting).status).toBe(401);
  });
});
