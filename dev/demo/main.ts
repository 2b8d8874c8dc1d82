/**
 * Owns `npm run demo`: a scenario on a running stack, or on one started for it.
 * Invariant: exit 0 means that everything printed was true; a failure is one line and exit 1.
 */
import { burst } from "./burst.ts";
import { cancel } from "./cancel.ts";
import { crash } from "./crash.ts";
import { live } from "./live.ts";
import { DEMO_HELP, type DemoOptions, readDemoOptions, type Scenario } from "./options.ts";
import { picture } from "./picture.ts";
import { openSession, type Session } from "./session.ts";

const RUN: Record<Scenario, (session: Session, options: DemoOptions) => Promise<void>> = {
  picture,
  live,
  burst,
  cancel,
  crash,
};

async function main(): Promise<void> {
  const options = readDemoOptions(process.argv.slice(2), process.env);
  if (options === "help") {
    console.log(DEMO_HELP);
    return;
  }
  const session = await openSession(options);
  try {
    await RUN[options.scenario](session, options);
  } finally {
    await session.stop();
  }
}

await main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  },
);
