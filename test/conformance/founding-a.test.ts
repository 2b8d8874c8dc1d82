/**
 * The first founding system's batteries, unchanged in meaning, against /api/v1: the nine groups of its integration suite, the
 * fourteen robustness checks, and its list for after a deployment. Report: `.data/conformance/founding-a.json`.
 */
import { afterAll, beforeAll, describe } from "vitest";
import { battery } from "../support/conformance/battery.ts";
import { type Caller, caller } from "../support/conformance/caller.ts";
import { openTarget, type Target } from "../support/conformance/target.ts";
import { deploymentChecks } from "./founding-a/deployment.ts";
import { bodyChecks, jobChecks, limitChecks, surfaceChecks } from "./founding-a/integration.ts";
import { healthChecks, inputChecks, recoveryChecks, repeatChecks } from "./founding-a/robustness.ts";
import type { Suite } from "./founding-a/suite.ts";

let target: Target;
beforeAll(async () => {
  target = await openTarget();
});
afterAll(() => target?.close());

/** A caller whose target and key are known only when it is used. */
const as =
  (key: () => string | null): Caller =>
  (...args) => {
    const text = key();
    return caller(target.url, text === null ? {} : { Authorization: `Bearer ${text}` })(...args);
  };

const suite: Suite = {
  ...battery("founding-a", () => target?.name ?? ""),
  target: () => target,
  call: as(() => target.userKey),
  admin: as(() => target.adminKey),
  open: as(() => null),
};

describe("integration suite", () => {
  jobChecks(suite);
  bodyChecks(suite);
  limitChecks(suite);
  surfaceChecks(suite);
});

describe("robustness", () => {
  healthChecks(suite);
  inputChecks(suite);
  repeatChecks(suite);
  recoveryChecks(suite);
});

describe("after a deployment", () => {
  deploymentChecks(suite);
});
