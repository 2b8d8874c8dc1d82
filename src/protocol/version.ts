/**
 * Owns the version of the agent protocol and the rule for accepting one.
 * Invariant: an agent one version behind still works; any other gets 426 with the accepted range.
 */

/** Sent by every agent as `X-Agent-Protocol`. */
export const AGENT_PROTOCOL = 1;
export const MIN_AGENT_PROTOCOL = 1;

/** Version of the doorbell body. An unknown one is acknowledged and reported, never guessed at. */
export const DOORBELL_VERSION = 1;

export function acceptsAgentProtocol(header: string | null | undefined): boolean {
  if (header === null || header === undefined || !/^\d{1,4}$/.test(header)) return false;
  const version = Number(header);
  return version >= MIN_AGENT_PROTOCOL && version <= AGENT_PROTOCOL;
}
