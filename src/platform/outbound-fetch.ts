/**
 * Owns the one way a message goes to a URL that a user named.
 * Invariant: one connection, no redirect followed, nothing of ours but what is passed in; of the answer only status and
 * `Retry-After` are looked at, its body is never read. The URL was judged by `domain/outbound-target` right before.
 */

/** `status` null: no answer came. `retry_after`: the header as it was. */
export type Answered = {
  readonly outcome: "answered" | "timeout" | "unreachable";
  readonly status: number | null;
  readonly retry_after: string | null;
};

const USER_AGENT = "ComfyEdge-Webhooks/1.0";

/** POSTs JSON. Never throws: whatever keeps an answer from coming is an outcome. */
export async function postJson(
  url: string,
  headers: { readonly [name: string]: string },
  body: string,
  timeoutMs: number,
): Promise<Answered> {
  const cut = new AbortController();
  // What a runtime makes of an abort differs: whether the limit passed is known here.
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    cut.abort();
  }, timeoutMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json", "User-Agent": USER_AGENT },
      body,
      redirect: "manual",
      signal: cut.signal,
    });
    const { status } = response;
    const retry_after = response.headers.get("Retry-After");
    // Endless or huge, it does not matter: nobody reads it.
    response.body?.cancel().catch(() => undefined);
    return { outcome: "answered", status, retry_after };
  } catch {
    return { outcome: late ? "timeout" : "unreachable", status: null, retry_after: null };
  } finally {
    clearTimeout(timer);
  }
}
