/**
 * Owns the directory's tables in a test: the very migrations operators apply.
 * Invariant: a file's storage is its own, so they are applied once per test file.
 */
import first from "../../../migrations/directory/0001_directory.sql";
import second from "../../../migrations/directory/0002_identity.sql";
import { bindings } from "./account.ts";

export async function openDirectory(): Promise<void> {
  const statements = [first, second]
    .join("\n")
    .replace(/^--.*$/gm, "")
    .split(";")
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
  await bindings.DIRECTORY.batch(statements.map((statement) => bindings.DIRECTORY.prepare(statement)));
}
