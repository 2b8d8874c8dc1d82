/**
 * Holds `protocol/ids` and `platform/macs` to their promise: what was not signed by us is not an id.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Macs, macsFrom } from "../../../src/platform/macs.ts";
import {
  accountIdSchema,
  base32,
  jobIdFrom,
  keyIdSchema,
  parseKey,
  parseLease,
  poolIdOf,
  poolNameOf,
  poolNameSchema,
  ticketNonce,
} from "../../../src/protocol/ids.ts";

const macs = macsFrom("a:an-old-secret-of-16-or-more");
const account = accountIdSchema.parse("u0123456789abcde");
const job = jobIdFrom(1_700_000_000_000, 0xbeef);
const nonce = "0123456789abcdefghjk";
const lease = macs.signLease({ account, job, attempt: 3, nonce });

describe("ids", () => {
  it("sorts job ids by the second they were made in", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), fc.nat(2 ** 31), fc.nat(0xffff), fc.nat(0xffff), (a, b, x, y) => {
        fc.pre(a < b);
        expect(jobIdFrom(a * 1000, x) < jobIdFrom(b * 1000, y)).toBe(true);
      }),
    );
  });

  it("maps pool names to ids of 16 characters and back", () => {
    for (const name of ["default", "a", "gpu4090", "abcdefghijklmnop"]) {
      const pool = poolNameSchema.parse(name);
      expect(poolIdOf(pool)).toHaveLength(16);
      expect(poolNameOf(poolIdOf(pool))).toBe(name);
    }
    for (const bad of ["", "9a", "gpu-1", "Pool", "abcdefghijklmnopq"])
      expect(poolNameSchema.safeParse(bad).success).toBe(false);
  });

  it("spells 32 bytes in 52 characters and 16 bytes in 26", () => {
    expect(base32(new Uint8Array(32))).toHaveLength(52);
    expect(base32(new Uint8Array(16).fill(255))).toHaveLength(26);
  });
});

describe("MACs", () => {
  it("gives back every field of what it signed", () => {
    expect(macs.verifyLease(lease)).toEqual({ account, job, attempt: 3, nonce });
    const pool = poolNameSchema.parse("default");
    expect(macs.verifyRef(macs.signRef({ account, job, attempt: 1, pool }))).toEqual({
      account,
      job,
      attempt: 1,
      pool,
    });
    const key = { kind: "user", account, keyid: keyIdSchema.parse("abcd1234"), secret: "0".repeat(52) } as const;
    expect(macs.verifyKey(macs.signKey(key))).toEqual(key);
  });

  it("refuses a lease with any one character changed", () => {
    fc.assert(
      fc.property(fc.nat(lease.length - 1), fc.constantFrom(..."0123456789abcdefghjkmnpqrstvwxyz_"), (at, char) => {
        fc.pre(lease.charAt(at) !== char);
        expect(macs.verifyLease(lease.slice(0, at) + char + lease.slice(at + 1))).toBeNull();
      }),
    );
  });

  it("refuses a MAC made for another domain", () => {
    const mac = lease.slice(-27);
    const ref = macs.signRef({ account, job, attempt: 3, pool: poolNameSchema.parse("default") });
    expect(macs.verifyRef(ref.slice(0, -27) + mac)).toBeNull();
  });

  it("F93: verifies keys, leases, refs and tickets under both MAC keys while one is rotated, and signs with the first", () => {
    const old = macsFrom("a:an-old-secret-of-16-or-more");
    const rotated = macsFrom("b:a-new-secret-of-16-or-more,a:an-old-secret-of-16-or-more");
    const after = macsFrom("b:a-new-secret-of-16-or-more");
    const key = { kind: "user", account, keyid: keyIdSchema.parse("abcd1234"), secret: "0".repeat(52) } as const;
    const ref = { account, job, attempt: 3, pool: poolNameSchema.parse("default") };
    const ticket = { account, job, expires_s: 1, nonce: ticketNonce({ account, keyid: key.keyid }, "0123456789ab") };
    const rows = [
      [(macs: Macs) => macs.signKey(key), (macs: Macs, text: string) => macs.verifyKey(text)],
      [
        (macs: Macs) => macs.signLease({ account, job, attempt: 3, nonce }),
        (macs: Macs, text: string) => macs.verifyLease(text),
      ],
      [(macs: Macs) => macs.signRef(ref), (macs: Macs, text: string) => macs.verifyRef(text)],
      [(macs: Macs) => macs.signTicket(ticket), (macs: Macs, text: string) => macs.verifyTicket(text)],
    ] as const;
    for (const [sign, verify] of rows) {
      expect(verify(rotated, sign(old))).not.toBeNull();
      expect(sign(rotated).slice(-27, -26)).toBe("b");
      expect([verify(after, sign(rotated)) === null, verify(after, sign(old)) === null]).toEqual([false, true]);
    }
  });

  it("reads no id out of text that merely looks like one", () => {
    for (const junk of ["", "l_", lease.toUpperCase(), `${lease} `, `${lease}\n`, lease.replace("_3_", "_-3_")]) {
      expect(macs.verifyLease(junk)).toBeNull();
    }
    expect(parseKey("ce_root_u0123456789abcde_abcd1234_")).toBeNull();
    expect(parseLease("r_u0123456789abcde")).toBeNull();
  });
});
