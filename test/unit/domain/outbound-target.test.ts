/**
 * Holds `domain/outbound-target` to its promise over the bad-input catalogue (facts: B98 to B119, B147).
 */
import { describe, expect, it } from "vitest";
import {
  checkTarget,
  hookRules,
  type TargetProblem,
  type TargetRules,
  targetRefusal,
} from "../../../src/domain/outbound-target.ts";

const HOOKS: TargetRules = { schemes: ["https"], addresses: false, own_hosts: ["api.edge.com"], dev_targets: [] };
const FETCHES: TargetRules = { ...HOOKS, schemes: ["https", "http"], addresses: true };

const problem = (url: string, rules = HOOKS): TargetProblem | null => {
  const checked = checkTarget(url, rules);
  return checked.ok ? null : checked.refusal;
};

const LOOPBACK = [
  "127.0.0.1",
  "127.1",
  "127.0.1",
  "0",
  "0.0.0.0",
  "127.127.127.127",
  "2130706433",
  "0x7f000001",
  "0x7f.1",
  "017700000001",
  "0177.0.0.1",
  "00000177.1",
  "127。0。0。1",
  "①②⑦.⓪.⓪.①",
  "127%2e0%2e0%2e1",
  "%31%32%37.0.0.1",
  "127.0.0.1.",
];
const PRIVATE_V6 = [
  "::",
  "::1",
  "0:0:0:0:0:ffff:127.0.0.1",
  "::ffff:7f00:1",
  "::127.0.0.1",
  "64:ff9b::7f00:1",
  "64:ff9b:1::1",
  "2002:7f00:1::",
  "2001:0:7f00:1::",
  "::ffff:0:7f00:1",
  "fc00::1",
  "fe80::1",
  "fec0::1",
  "ff02::1",
  "4000::1",
  "100:0:0:1::1",
  "2001:db8::1",
  "3fff::1",
  "5f00::1",
  "fd00:ec2::254",
];
const PRIVATE_V4 = [
  "10.0.0.1",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.1.1",
  "100.64.0.1",
  "198.18.0.1",
  "240.0.0.1",
  "255.255.255.255",
  "224.0.0.1",
  "169.254.169.254",
  "2852039166",
  "0xa9fea9fe",
  "169.254.170.2",
  "100.100.100.200",
  "192.0.0.192",
  "168.63.129.16",
  "192.0.2.1",
];
const LOCAL_NAMES = [
  "localhost",
  "LOCALHOST.",
  "foo.localhost",
  "ip6-localhost",
  "metadata",
  "instance-data",
  "metadata.google.internal",
  "printer.local",
  "router.lan",
  "nas.home.arpa",
  "db.corp",
  "host.localdomain",
  "a..b",
  "-a.com",
  `${"a".repeat(64)}.com`,
  `${"a.".repeat(126)}com`,
];

describe("targets named by users", () => {
  it("I47: no spelling of a private or special address is a target, whether addresses may stand for names or not", () => {
    const hosts = [...LOOPBACK, ...PRIVATE_V4, ...PRIVATE_V6.map((host) => `[${host}]`)];
    const open = hosts.filter(
      (host) => problem(`https://${host}/`) === null || problem(`http://${host}/`, FETCHES) === null,
    );
    expect(open).toEqual([]);
  });

  it("I47: no name of this machine or this network is a target", () => {
    const open = LOCAL_NAMES.filter((name) => problem(`https://${name}/`) === null);
    expect(open).toEqual([]);
  });

  it.each([
    ["file:///etc/passwd", "malformed"],
    ["data:text/plain,x", "malformed"],
    ["javascript:alert(1)", "malformed"],
    ["//host.com/", "malformed"],
    ["http:127.0.0.1/", "malformed"],
    ["http:/\\/127.0.0.1", "malformed"],
    [" https://hooks.example.com/", "malformed"],
    ["https://hooks.exa\tmple.com/", "malformed"],
    ["https://1.1.1.1 &@2.2.2.2# @3.3.3.3/", "malformed"],
    ["https://a:80\\@127.0.0.1/", "malformed"],
    ["https://[fe80::1%25eth0]/", "malformed"],
    ["https://xn--/", "host"],
    ["https://hooks.example.com:65536/", "malformed"],
    ["ftp://hooks.example.com/", "scheme"],
    ["gopher://hooks.example.com/", "scheme"],
    ["http://hooks.example.com/", "scheme"],
    ["https://user:pass@hooks.example.com/", "credentials"],
    ["https://hooks.example.com@127.0.0.1/", "credentials"],
    ["https://127.0.0.1#@hooks.example.com", "address"],
    ["https://8.8.8.8/", "address"],
    ["https://hooks.example.com:22/", "port"],
    ["https://hooks.example.com:8188/", "port"],
    ["https://hooks.example.com:0/", "port"],
    ["https://api.edge.com/api/v1/jobs", "own_host"],
    ["https://API.edge.com./", "own_host"],
  ] as const)("refuses %s: %s", (url, why) => {
    expect(problem(url)).toBe(why);
  });

  it("takes a URL of 2,048 characters and refuses a longer one", () => {
    const start = "https://hooks.example.com/";
    expect(problem(start.padEnd(2_048, "x"))).toBeNull();
    expect(problem(start.padEnd(2_049, "x"))).toBe("malformed");
  });

  it("takes a public https name, keeps path and query, and drops the fragment", () => {
    expect(checkTarget("https://Hooks.Example.com:443/a/b?c=d#e", HOOKS)).toEqual({
      ok: true,
      value: "https://hooks.example.com/a/b?c=d",
    });
    expect(problem("https://münchen.example.com./hook")).toBeNull();
  });

  it("takes a globally routable address only where addresses are allowed", () => {
    for (const url of ["https://8.8.8.8/x", "http://[2606:4700:4700::1111]/x"])
      expect(problem(url, FETCHES)).toBeNull();
  });

  it("lets development name origins of its own, and nothing beside them", () => {
    const dev = { ...HOOKS, dev_targets: ["http://127.0.0.1:9000", "http://localhost:*"] };
    expect(problem("http://127.0.0.1:9000/hook", dev)).toBeNull();
    expect(problem("http://localhost:1234/hook", dev)).toBeNull();
    expect(problem("http://127.0.0.1:9001/hook", dev)).toBe("scheme");
    expect(problem("https://localhost/hook", dev)).toBe("host");
    expect(problem("http://10.0.0.1:9000/", dev)).toBe("scheme");
    const own = { ...dev, own_hosts: ["localhost:8787"] };
    expect(problem("http://localhost:8787/api/v1/jobs", own)).toBe("own_host");
  });

  it("makes the rules of webhooks from where this service itself is reached", () => {
    const rules = hookRules(["https://api.edge.com", "https://acc.r2.cloudflarestorage.com/x"], []);
    expect(problem("https://acc.r2.cloudflarestorage.com/bucket", rules)).toBe("own_host");
    expect(problem("http://hooks.example.com/", rules)).toBe("scheme");
  });

  it("tells the field and the reason, and nothing of what stands behind the name", () => {
    expect(targetRefusal("address", "webhook_url")).toMatchObject({
      code: "URL_NOT_ALLOWED",
      details: { field: "webhook_url", reason: "address" },
    });
  });
});
