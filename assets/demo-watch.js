/**
 * Owns the watch over one job: by WebSocket with a key (with previews), or as server-sent events with a ticket alone.
 * Invariant: a connection that is lost is made again, with growing pauses, above the number seen last; a refusal ends the watch.
 */

const SUBPROTOCOL = "comfy-edge.v1";
const PING_MS = 30_000;
const FIRST_PAUSE_MS = 400;
const MAX_PAUSE_MS = 10_000;
/** A connection that is not there by then is given up and tried anew. */
const CONNECT_MS = 10_000;

/** Why a socket was closed for good; any other code is a loss. */
const REFUSALS = { 4401: "key", 1008: "job" };

/**
 * @param job its id
 * @param access `{key, user}` (`user`: whom a service key acts for, else empty) or `{ticket}`
 * @param on `frame(frame)`, `preview(header, blob)`, `link("connecting" | "live" | "lost" | "over")`,
 *   `refused("key" | "user" | "ticket" | "job" | "disabled")`
 * @param seen the number of the last frame seen before, 0 for none
 */
export function watch(job, access, on, seen = 0) {
  const path = `/api/v1/jobs/${job}`;
  let last = seen;
  let pause = FIRST_PAUSE_MS;
  let ended = false;
  let close = () => {};

  function end(tell) {
    ended = true;
    close();
    tell();
  }

  function heard(frame) {
    if (ended) return;
    last = Math.max(last, frame.seq);
    pause = FIRST_PAUSE_MS;
    on.link("live");
    on.frame(frame, last);
    if (frame.type === "done") end(() => on.link("over"));
  }

  function again() {
    if (ended) return;
    on.link("lost");
    setTimeout(connect, pause * (0.5 + Math.random()));
    pause = Math.min(MAX_PAUSE_MS, pause * 2);
  }

  async function connect() {
    if (ended) return;
    if (access.ticket) openEvents();
    else await openSocket();
  }

  async function openSocket() {
    const ticket = await newTicket(path, access);
    if (ended) return;
    if (ticket.refused) end(() => on.refused(ticket.refused));
    else if (!ticket.text) again();
    else attach(ticket.text);
  }

  function attach(ticket) {
    const url = new URL(`${path}/ws?previews=1&last_seq=${last}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, [SUBPROTOCOL, `ticket.${ticket}`]);
    socket.binaryType = "arraybuffer";
    const late = setTimeout(() => socket.close(), CONNECT_MS);
    const pings = setInterval(() => socket.readyState === WebSocket.OPEN && socket.send("ping"), PING_MS);
    socket.onopen = () => {
      clearTimeout(late);
      socket.send("ping");
    };
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) on.preview(...previewOf(data));
      else if (data.startsWith("{")) heard(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(late);
      clearInterval(pings);
      const refusal = REFUSALS[code];
      if (ended) return;
      if (refusal) end(() => on.refused(reason === "disabled" ? "disabled" : refusal));
      else again();
    };
    close = () => socket.close();
  }

  function openEvents() {
    const resumed = last > 0 ? `&last_seq=${last}` : "";
    const events = new EventSource(`${path}/events?ticket=${access.ticket}${resumed}`);
    for (const type of ["status", "progress", "log", "artifact", "done"])
      events.addEventListener(type, ({ data }) => heard(JSON.parse(data)));
    events.onerror = () => {
      if (ended) return;
      on.link("lost");
      // The browser comes back by itself, except where it was answered something else than a stream.
      if (events.readyState === EventSource.CLOSED) void askWhy(events.url);
    };
    close = () => events.close();
  }

  /** An EventSource does not tell with what it was refused: a spent ticket is the end, anything else passes. */
  async function askWhy(url) {
    const asking = new AbortController();
    const answer = await fetch(url, { signal: asking.signal }).catch(() => null);
    asking.abort();
    if (ended) return;
    if (answer !== null && [401, 403, 404].includes(answer.status)) end(() => on.refused("ticket"));
    else again();
  }

  on.link("connecting");
  void connect();
}

/** What a request by a key carries. */
export function headersOf({ key, user }) {
  return { Authorization: `Bearer ${key}`, ...(user ? { "X-User-ID": user } : {}) };
}

/** `{text}`, `{refused}` for good, or `{}` when it may be tried again. */
async function newTicket(path, access) {
  try {
    const answer = await fetch(`${path}/ticket`, { method: "POST", headers: headersOf(access) });
    if (answer.ok) return { text: (await answer.json()).ticket };
    if (answer.status === 400) return { refused: "user" };
    if (answer.status === 401 || answer.status === 403) return { refused: "key" };
    return answer.status === 404 ? { refused: "job" } : {};
  } catch {
    return {};
  }
}

/** uint32 big endian length, header as JSON, image bytes. */
function previewOf(data) {
  const length = new DataView(data).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  return [header, new Blob([new Uint8Array(data, 4 + length)], { type: header.content_type })];
}
