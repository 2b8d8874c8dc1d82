/** The agent's settings: one whole, wrong ones named before anything starts. */
import { expect, it } from "vitest";
import { HELP, printable, readConfig, SETTING_NAMES } from "../../../gpu-agent/config.ts";
import { TOKEN } from "../../support/agent/running-agent.ts";

const env = { CONTROL_URL: "https://api.example.com/", AGENT_TOKEN: TOKEN, COMFYUI_URL: "http://127.0.0.1:8188" };

it("flags win over the environment, and switches need no value", () => {
  const parsed = readConfig(["--share", "own", "--once", "--require-safe-comfyui"], { ...env, SHARE: "yield" });
  expect(parsed).toMatchObject({
    kind: "run",
    config: {
      CONTROL_URL: "https://api.example.com",
      SHARE: "own",
      ONCE: true,
      REQUIRE_SAFE_COMFYUI: true,
    },
  });
});

it.each([
  [{ COMFYUI_URL: "" }, /COMFYUI_URL is missing/],
  [{ COMFYUI_URL: "http://127.0.0.1:8188,http://127.0.0.1:8188/" }, /one ComfyUI twice/],
  [{ COMFYUI_URL: "http://a:1,http://b:1", COMFYUI_DIR: "/srv/comfy" }, /one folder for each/],
  [{ AGENT_TOKEN: "ce_user_x" }, /not an agent token/],
  [{ POOL: "other" }, /belongs to pool default/],
  [{ SHARE: "maybe" }, /SHARE is wrong/],
  [{ METRICS_PORT: "70000" }, /METRICS_PORT is wrong/],
])("%j ends the start with one line that says so", (wrong, message) => {
  expect(readConfig([], { ...env, ...wrong })).toMatchObject({
    kind: "wrong",
    message: expect.stringMatching(message),
  });
});

it("an unknown flag is refused by name", () => {
  expect(readConfig(["--colour"], env)).toMatchObject({ kind: "wrong", message: expect.stringContaining("--colour") });
});

it("every setting is explained in --help, and --print-config shows all but the token", () => {
  for (const name of SETTING_NAMES) expect(HELP, name).toContain(name);
  const parsed = readConfig(["--print-config"], env);
  if (parsed.kind !== "print") throw new Error("a config was to be printed");
  expect(printable(parsed.config)).not.toContain(TOKEN.slice(20));
});
