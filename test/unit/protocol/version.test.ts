/**
 * Holds the rule for accepting an agent: one version behind works, any other is refused.
 */
import { describe, expect, it } from "vitest";
import { AGENT_PROTOCOL, acceptsAgentProtocol, MIN_AGENT_PROTOCOL } from "../../../src/protocol/version.ts";

describe("the agent protocol", () => {
  it("is taken one version behind, as soon as there is one, and no further", () => {
    expect(MIN_AGENT_PROTOCOL).toBe(Math.max(1, AGENT_PROTOCOL - 1));
    for (const version of [MIN_AGENT_PROTOCOL - 1, AGENT_PROTOCOL + 1])
      expect(acceptsAgentProtocol(String(version))).toBe(false);
    for (let version = MIN_AGENT_PROTOCOL; version <= AGENT_PROTOCOL; version++)
      expect(acceptsAgentProtocol(String(version))).toBe(true);
  });

  it.each([null, undefined, "", "one", "1.0", "-1", " 1", "1e0", "00001"])("is not %j", (header) => {
    expect(acceptsAgentProtocol(header)).toBe(false);
  });
});
