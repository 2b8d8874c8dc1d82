/**
 * Owns the directory's tables in a test: the very migrations operators apply.
 * Invariant: a file's storage is its own, so they are applied once per test file.
 */
import directorySql from "../../../migrations/directory/0001_directory.sql";
import { bindings } from "./account.ts";

export async function openDirectory(): Promise<void> {
  const statements = directorySql
    .replace(/^--.*$/gm, "")
    .split(";")
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
  await bindings.DIRECTORY.batch(statements.map((statement) => bindings.DIRECTORY.prepare(statement)));
}
