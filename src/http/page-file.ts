/**
 * Owns how a file of the folder of `[assets]` leaves: with the policy of the page it belongs to.
 * Invariant: nothing of it is read or changed here but that header.
 */
import type { Context } from "hono";
import type { AppEnv } from "./context.ts";

/** `path`: the file's, `.html` left out: `/docs` is `docs.html`. */
export async function pageFile(c: Context<AppEnv>, path: string, contentPolicy: string): Promise<Response> {
  const found = await c.env.ASSETS.fetch(new Request(new URL(path, c.req.url)));
  const answer = new Response(found.body, found);
  answer.headers.set("Content-Security-Policy", contentPolicy);
  return answer;
}
