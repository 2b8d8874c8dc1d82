/**
 * Owns rows B98 to B119 and B147 to B149 of the bad-input catalogue: URLs that may not be called, wherever a job or a webhook
 * names one, and what else a webhook may not be.
 * Invariant: decided on the text alone; nothing is resolved or dialled.
 */
import { type Row, submit, webhook, withField } from "./row.ts";

const REFUSED: readonly (readonly [id: string, urls: readonly string[]])[] = [
  [
    "B98",
    [
      "file:///etc/passwd",
      "ftp://example.com/a",
      "gopher://example.com/",
      "data:image/png;base64,AA==",
      "blob:https://example.com/x",
      "javascript:alert(1)",
      "jar:https://example.com/a!/b",
      "//example.com/a",
    ],
  ],
  ["B99", ["http://example.com/a.png"]],
  [
    "B100",
    [
      "https://127.0.0.1/",
      "https://localhost/",
      "https://LOCALHOST./",
      "https://foo.localhost/",
      "https://ip6-localhost/",
    ],
  ],
  ["B101", ["https://127.1/", "https://127.0.1/", "https://0/", "https://0.0.0.0/", "https://127.127.127.127/"]],
  [
    "B102",
    [
      "https://2130706433/",
      "https://0x7f000001/",
      "https://0x7f.1/",
      "https://017700000001/",
      "https://0177.0.0.1/",
      "https://00000177.1/",
    ],
  ],
  [
    "B103",
    [
      "https://127\u30020\u30020\u30021/",
      "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
      "https://127%2e0%2e0%2e1/",
      "https://%31%32%37.0.0.1/",
      "https://\uff11\uff12\uff17.0.0.1/",
    ],
  ],
  [
    "B104",
    [
      "https:127.0.0.1/",
      "https:/\\/127.0.0.1",
      "https://exa\tmple.com/",
      "https://exa\nmple.com/",
      "  https://example.com/",
    ],
  ],
  [
    "B105",
    [
      "https://1.1.1.1 &@2.2.2.2# @3.3.3.3/",
      "https://a:80\\@127.0.0.1/",
      "https://example.com@127.0.0.1/",
      "https://127.0.0.1#@example.com/",
    ],
  ],
  ["B106", ["https://user:pass@example.com/", "https://user@example.com/"]],
  [
    "B107",
    [
      "https://[::]/",
      "https://[::1]/",
      "https://[0:0:0:0:0:ffff:127.0.0.1]/",
      "https://[::ffff:7f00:1]/",
      "https://[::127.0.0.1]/",
    ],
  ],
  [
    "B108",
    [
      "https://[64:ff9b::7f00:1]/",
      "https://[64:ff9b:1::1]/",
      "https://[2002:7f00:1::]/",
      "https://[2001:0:7f00:1::]/",
      "https://[::ffff:0:7f00:1]/",
    ],
  ],
  [
    "B109",
    [
      "https://[fc00::1]/",
      "https://[fe80::1]/",
      "https://[fec0::1]/",
      "https://[ff02::1]/",
      "https://[fe80::1%25eth0]/",
      "https://[4000::1]/",
    ],
  ],
  [
    "B110",
    [
      "10.0.0.1",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.1.1",
      "100.64.0.1",
      "198.18.0.1",
      "240.0.0.1",
      "255.255.255.255",
      "224.0.0.1",
    ].map((host) => `https://${host}/`),
  ],
  [
    "B111",
    [
      "169.254.169.254",
      "2852039166",
      "0xa9fea9fe",
      "0251.0376.0251.0376",
      "[::ffff:169.254.169.254]",
      "169.254.170.2",
      "100.100.100.200",
      "192.0.0.192",
      "168.63.129.16",
      "[fd00:ec2::254]",
      "metadata.google.internal",
      "metadata",
      "instance-data",
    ].map((host) => `https://${host}/`),
  ],
  ["B117", [22, 25, 6379, 8188, 0, 65536].map((port) => `https://example.com:${port}/`)],
  [
    "B118",
    [
      `https://${"a.".repeat(126)}ab/`,
      `https://${"a".repeat(64)}.com/`,
      "https://a..b/",
      "https://-a.com/",
      "https://xn--.com/",
    ],
  ],
  ["B119", ["https://127.0.0.1:8787/api/v1/jobs"]],
];

export const URLS: readonly Row[] = REFUSED.flatMap(([id, urls]) =>
  urls.flatMap((url): Row[] => {
    const text = JSON.stringify(url);
    const graph =
      '{"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}, "2": {"class_type": "SaveImage", "inputs": {}}}';
    const input = `{"node": "1", "field": "image", "type": "image_url", "value": ${text}}`;
    return [
      [id, `media from ${text}`, withField("media", `[{"name": "a.png", "url": ${text}}]`), 422, "URL_NOT_ALLOWED"],
      [id, `an input from ${text}`, submit(`{"workflow": ${graph}, "inputs": [${input}]}`), 422, "URL_NOT_ALLOWED"],
      ["B147", `a job's webhook to ${text}`, withField("webhook_url", text), 422, "URL_NOT_ALLOWED"],
      ["B147", `a webhook to ${text}`, webhook(`{"url": ${text}}`), 422, "URL_NOT_ALLOWED"],
    ];
  }),
);

const LONG = JSON.stringify(`https://example.com/${"a".repeat(2_048)}`);
const TO = '"url": "https://example.com/"';
const BAD = "VALIDATION_ERROR";
export const WEBHOOKS: readonly Row[] = [
  ["B147", "a job's webhook to 2,068 characters", withField("webhook_url", LONG), 422, BAD],
  ["B147", "a webhook to 2,068 characters", webhook(`{"url": ${LONG}}`), 422, BAD],
  ["B147", "a webhook to a number", webhook('{"url": 1}'), 422, BAD],
  ["B147", "a webhook to nowhere", webhook("{}"), 422, BAD],
  ["B148", "an event there is not", webhook(`{${TO}, "events": ["job.exploded"]}`), 422, BAD],
  ["B148", "no event", webhook(`{${TO}, "events": []}`), 422, BAD],
  ["B148", "a description of 200 characters", webhook(`{${TO}, "description": "${"x".repeat(200)}"}`), 422, BAD],
  ["B148", "a description of two lines", webhook(`{${TO}, "description": "a\\nb"}`), 422, BAD],
  ...['"short"', '"whsec_***"', "null"].map(
    (secret): Row => [
      "B149",
      `the secret ${secret}, which is ours to make`,
      webhook(`{${TO}, "secret": ${secret}}`),
      422,
      BAD,
    ],
  ),
];
