/**
 * Owns rows B33 to B49 of the bad-input catalogue: who asks.
 * Invariant: every refusal of a key looks the same; what admins may do (B46 to B48) is held by the admin tests.
 */
import { as, post, send, unknownKey } from "../client.ts";
import { type Asker, bare, type Row, submit, withField } from "./row.ts";

const JOBS = "/api/v1/jobs";
const changed = (key: string, at: number) => key.slice(0, at) + (key[at] === "a" ? "b" : "a") + key.slice(at + 1);
const onForeign = (method: string, path: string) => (who: Asker) =>
  send(`${JOBS}/${who.foreignJob}${path}`, { ...as(who.user.key), method });

export const IDENTITY: readonly Row[] = [
  ["B33", "no key", bare(JOBS), 401, "UNAUTHORIZED"],
  ["B34", "Bearer alone", bare(JOBS, { Authorization: "Bearer" }), 401, "UNAUTHORIZED"],
  ["B34", "Basic", bare(JOBS, { Authorization: "Basic YTpi" }), 401, "UNAUTHORIZED"],
  [
    "B34",
    "two keys in one header",
    ({ user, other }) => send(JOBS, { headers: { Authorization: `Bearer ${user.key}, Bearer ${other.key}` } }),
    401,
    "UNAUTHORIZED",
  ],
  [
    "B34",
    "two headers that differ",
    ({ user, other }) => send(JOBS, as(user.key, { "X-API-Key": other.key })),
    401,
    "UNAUTHORIZED",
  ],
  [
    "B35",
    "a key with its last character changed",
    ({ user }) => send(JOBS, as(changed(user.key, user.key.length - 1))),
    401,
    "UNAUTHORIZED",
  ],
  ["B35", "a key with its secret changed", ({ user }) => send(JOBS, as(changed(user.key, 50))), 401, "UNAUTHORIZED"],
  ["B36", "a key of 10 KB", bare(JOBS, { Authorization: `Bearer ${"a".repeat(10_240)}` }), 401, "UNAUTHORIZED"],
  ["B37", "a key of good form that no account knows", () => send(JOBS, as(unknownKey("user"))), 401, "UNAUTHORIZED"],
  [
    "B37",
    "a key of a known account that it does not know",
    ({ user }) => send(JOBS, as(unknownKey("user", user.account))),
    401,
    "UNAUTHORIZED",
  ],
  ["B39", "an agent's token on a client route", ({ agentToken }) => send(JOBS, as(agentToken)), 401, "UNAUTHORIZED"],
  [
    "B39",
    "a user's key on an agent route",
    ({ user }) => send("/agent/v1/claims", post(user.key, "{}", { "X-Agent-Protocol": "1" })),
    401,
    null,
  ],
  ["B41", "a key in the query", ({ user }) => send(`${JOBS}?api_key=${user.key}&key=${user.key}`), 401, "UNAUTHORIZED"],
  ["B42", "reading another's job", onForeign("GET", ""), 404, "NOT_FOUND"],
  ["B42", "canceling another's job", onForeign("DELETE", ""), 404, "NOT_FOUND"],
  ["B42", "canceling another's job by POST", onForeign("POST", "/cancel"), 404, "NOT_FOUND"],
  ["B42", "rerunning another's job", onForeign("POST", "/rerun"), 404, "NOT_FOUND"],
  ["B42", "deleting another's data", onForeign("DELETE", "/data"), 404, "NOT_FOUND"],
  ["B42", "another's artifact", onForeign("GET", "/artifacts/0"), 404, "NOT_FOUND"],
  ["B42", "another's events", onForeign("GET", "/events?format=json"), 404, "NOT_FOUND"],
  [
    "B43",
    "another's user_id in the body",
    ({ user, other }) => send(JOBS, post(user.key, `{"prompt": "a", "user_id": "${other.account}"}`)),
    403,
    "FORBIDDEN",
  ],
  [
    "B43",
    "another's X-User-ID",
    ({ user, other }) => send(JOBS, as(user.key, { "X-User-ID": other.account })),
    403,
    "FORBIDDEN",
  ],
  ["B43", "a service key without X-User-ID", ({ service }) => send(JOBS, as(service.key)), 400, "BAD_REQUEST"],
  [
    "B43",
    "a service key for another tenant in the body",
    ({ service }) => send(JOBS, post(service.key, '{"prompt": "a", "user_id": "bob"}', { "X-User-ID": "alice" })),
    403,
    "FORBIDDEN",
  ],
  ...[
    "j_000000000000",
    "j_ffffffffffff",
    "j_xyz",
    "j_0123456789AB",
    "1",
    "a%2fb",
    "6fa459ea-ee8a-11ca-8df0-00c04fd430c8",
  ].map((id): Row => ["B44", `the job id ${id}`, ({ user }) => send(`${JOBS}/${id}`, as(user.key)), 404, "NOT_FOUND"]),
  ...["status", "tenant_id", "account", "attempt", "fence", "submitted_by", "receipt"].map(
    (field): Row => ["B45", `a field ${field}`, withField(field, '"x"'), 422, "VALIDATION_ERROR"],
  ),
  [
    "B45",
    "a priority beyond the role's",
    ({ other }) => send(JOBS, post(other.key, '{"prompt": "a", "priority": 1}')),
    422,
    "VALIDATION_ERROR",
  ],
  ["B49", "a user's key on an admin route", ({ user }) => send("/admin/users", post(user.key, "{}")), 403, "FORBIDDEN"],
  ["B50", "an empty Idempotency-Key", submit('{"prompt": "a"}', { "Idempotency-Key": "" }), 400, "BAD_REQUEST"],
  [
    "B50",
    "an Idempotency-Key of 256 characters",
    submit('{"prompt": "a"}', { "Idempotency-Key": "x".repeat(256) }),
    400,
    "BAD_REQUEST",
  ],
  [
    "B50",
    "an Idempotency-Key with a space",
    submit('{"prompt": "a"}', { "Idempotency-Key": "a b" }),
    400,
    "BAD_REQUEST",
  ],
  [
    "B50",
    "an Idempotency-Key with an umlaut",
    submit('{"prompt": "a"}', { "Idempotency-Key": "kl\u00fcch" }),
    400,
    "BAD_REQUEST",
  ],
  ["B52", "two Idempotency-Keys", submit('{"prompt": "a"}', { "Idempotency-Key": "a, b" }), 400, "BAD_REQUEST"],
];
