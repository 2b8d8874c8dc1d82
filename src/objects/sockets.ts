/**
 * Owns the ways to say something to a socket that may be closing at this moment.
 * Invariant: never throws; a socket that is gone is told nothing, and its close event does the rest.
 */

/** False when it is not open. */
export function sendJson(socket: WebSocket, message: object): boolean {
  if (socket.readyState !== WebSocket.OPEN) return false;
  try {
    socket.send(JSON.stringify(message));
    return true;
  } catch {
    return false;
  }
}

export function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason);
  } catch {
    // Already closed.
  }
}

/** Codes the runtime reports where the other side sent none: no close frame may carry them. */
const UNSENDABLE: readonly number[] = [1005, 1006, 1015];

/** Completes the other side's close, with its own code where one may be sent. */
export function answerClose(socket: WebSocket, code: number): void {
  closeQuietly(socket, UNSENDABLE.includes(code) ? 1000 : code, "");
}
