/**
 * Owns the answer where no route matched: 405 with `Allow` when the path exists under other methods, else 404.
 * Invariant: tells which methods a path of ours has and nothing more; needs no key and wakes nothing.
 */
import type { Hono, NotFoundHandler } from "hono";
import { TrieRouter } from "hono/router/trie-router";
import { refusalOf } from "../protocol/errors.ts";
import type { AppEnv } from "./context.ts";
import { NOT_FOUND, refusalResponse } from "./errors.ts";

const NOT_ALLOWED = refusalOf("METHOD_NOT_ALLOWED", "This path has other methods.");

/** Middleware is registered for all methods: only routes with a method of their own count. */
function methodsByPath(app: Hono<AppEnv>): TrieRouter<string> {
  const router = new TrieRouter<string>();
  for (const { method, path } of app.routes) if (method !== "ALL") router.add("GET", path, method);
  return router;
}

/** The handler for `app.notFound`; the table is made at the first miss, when every route is there. */
export function missingRoute(app: Hono<AppEnv>): NotFoundHandler<AppEnv> {
  let table: TrieRouter<string> | null = null;
  return (c) => {
    table ??= methodsByPath(app);
    const [matches] = table.match("GET", c.req.path);
    const methods = [...new Set(matches.map(([method]) => String(method)))];
    // A route that answers GET answers HEAD by it.
    if (methods.includes("GET")) methods.push("HEAD");
    if (methods.length === 0 || methods.includes(c.req.method)) return refusalResponse(c, NOT_FOUND);
    c.header("Allow", methods.sort().join(", "));
    return refusalResponse(c, NOT_ALLOWED);
  };
}
